/* Stands for a ggml library that libs2 needs and that lies beside it. */
int ggml_fake_answer(void) { return 42; }
