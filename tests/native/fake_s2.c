/* A library with the exports of s2.cpp, for tests: it speaks sines, and fails where it is told to.
 *
 * Written from the table of exports; it shares no code with s2.cpp. Where the real library is known
 * to end its process, this one does too, so that a test sees every such call.
 *
 * The text says what happens (the words are in `act`), these variables what happens at the start:
 *   FAKE_S2_LOAD   fail, crash or hang
 *   FAKE_S2_TRACE  a file that gets a line for every call
 *   FAKE_S2_MARKS  a folder where "once" remembers
 *
 * -DOLD_EXPORTS leaves out what older builds lack. -DNEEDS_GGML wants a library beside this one.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { RATE = 44100, FRAME = 2048, FRAMES_PER_CHUNK = 4, CODEBOOKS = 10 };

typedef struct { int kind; int is_ready; void *parts[3]; } Object;
typedef struct { int kind; int max_new_tokens, min_tokens; float temperature, top_p; int top_k, n_threads, verbose; } Params;
typedef struct { int kind; int num_frames; int32_t *codes; } Codes;
typedef struct { int kind; float *samples; } Buffer;
typedef struct {
    int (*write)(const uint8_t *, int32_t, void *);
    void (*done)(void *);
    void (*error)(const char *, void *);
    int (*cancelled)(void *);
    void *user;
} Callbacks;
typedef struct {
    int32_t stride, holdback, context;
    int low_latency, segment_sentences;
    int32_t sentence_pause_ms, segment_max_chars;
    const char *voice, *voice_dir;
} StreamingParams;

enum { PIPELINE = 101, MODEL, TOKENIZER, CODEC, PARAMS, CODES, BUFFER, RELEASED };

static int is_speaking;

#ifdef NEEDS_GGML
int ggml_fake_answer(void);
#endif

static void trace(const char *format, const char *text, int a, int b, int c, int d) {
    const char *path = getenv("FAKE_S2_TRACE");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, format, text ? text : "-", a, b, c, d);
    fputc('\n', file);
    fclose(file);
}

/* The real library would read through a wrong pointer; this one always notices. */
static void *check(void *object, int kind) {
    if (!object || *(int *)object != kind) {
        fprintf(stderr, "fake_s2: a wrong object, kind %d\n", object ? *(int *)object : 0);
        abort();
    }
    return object;
}

static void *make(size_t num_bytes, int kind) {
    int *object = calloc(1, num_bytes);
    *object = kind;
    return object;
}

static void drop(void *object, int kind) {
    if (!object) return;
    if (is_speaking) abort();
    *(int *)check(object, kind) = RELEASED; /* kept, so that a second release is noticed */
}

EXPORT void *AllocS2Pipeline(void) { return make(sizeof(Object), PIPELINE); }
EXPORT void *AllocS2Model(void) { return make(sizeof(Object), MODEL); }
EXPORT void *AllocS2Tokenizer(void) { return make(sizeof(Object), TOKENIZER); }
EXPORT void *AllocS2AudioCodec(void) { return make(sizeof(Object), CODEC); }
EXPORT void *AllocS2GenerateParams(void) { return make(sizeof(Params), PARAMS); }
EXPORT void *AllocS2AudioPromptCodes(void) { return make(sizeof(Codes), CODES); }
EXPORT void *AllocS2AudioBuffer(int size) { (void)size; return make(sizeof(Buffer), BUFFER); }
EXPORT void ReleaseS2Pipeline(void *o) { trace("release pipeline", 0, 0, 0, 0, 0); drop(o, PIPELINE); }
EXPORT void ReleaseS2Model(void *o) { trace("release model", 0, 0, 0, 0, 0); drop(o, MODEL); }
EXPORT void ReleaseS2Tokenizer(void *o) { drop(o, TOKENIZER); }
EXPORT void ReleaseS2AudioCodec(void *o) { trace("release codec", 0, 0, 0, 0, 0); drop(o, CODEC); }
EXPORT void ReleaseS2GenerateParams(void *o) { drop(o, PARAMS); }
EXPORT void ReleaseS2AudioPromptCodes(void *o) {
    trace("release codes", 0, 0, 0, 0, 0);
    if (o) free(((Codes *)check(o, CODES))->codes);
    drop(o, CODES);
}
EXPORT void ReleaseS2AudioBuffer(void *o) {
    if (o) free(((Buffer *)check(o, BUFFER))->samples);
    drop(o, BUFFER);
}

static int exists(const char *path) {
    FILE *file = path ? fopen(path, "rb") : NULL;
    if (file) fclose(file);
    else fprintf(stderr, "fake_s2: cannot open a file\n");
    return file != NULL;
}

static void wait_s(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (nanosleep(&time, &time) && errno == EINTR) {}
}

static int load(void *object, const char *path) {
    const char *what = getenv("FAKE_S2_LOAD");
    if (what && !strcmp(what, "crash")) abort();
    if (what && !strcmp(what, "hang")) wait_s(1000);
    if (what && !strcmp(what, "fail")) { fprintf(stderr, "fake_s2: no such backend\n"); return 0; }
#ifdef NEEDS_GGML
    if (ggml_fake_answer() != 42) return 0;
#endif
    if (!exists(path)) return 0;
    ((Object *)object)->is_ready = 1;
    return 1;
}

EXPORT int InitializeS2Tokenizer(void *o, const char *path) {
    trace("tokenizer", 0, 0, 0, 0, 0);
    return load(check(o, TOKENIZER), path);
}
EXPORT int InitializeS2Model(void *o, const char *path, int32_t gpu, int32_t backend) {
    trace("model %s gpu=%d backend=%d", "-", gpu, backend, 0, 0);
    return load(check(o, MODEL), path);
}
EXPORT int InitializeS2AudioCodec(void *o, const char *path, int32_t gpu, int32_t backend) {
    trace("codec %s gpu=%d backend=%d", "-", gpu, backend, 0, 0);
    return load(check(o, CODEC), path);
}
EXPORT int InitializeS2Pipeline(void *o, void *tokenizer, void *model, void *codec) {
    Object *pipeline = check(o, PIPELINE);
    pipeline->parts[0] = check(tokenizer, TOKENIZER);
    pipeline->parts[1] = check(model, MODEL);
    pipeline->parts[2] = check(codec, CODEC);
    for (int i = 0; i < 3; i++) if (!((Object *)pipeline->parts[i])->is_ready) return 0;
    return pipeline->is_ready = 1;
}

#ifndef OLD_EXPORTS
EXPORT void SetS2LogLevel(int32_t level) { trace("log level %s %d", "-", level, 0, 0, 0); }
EXPORT int32_t GetS2LogLevel(void) { return 0; }
EXPORT int InitializeS2ModelWithGpuLayers(void *o, const char *path, int32_t gpu, int32_t backend, int32_t layers) {
    trace("model %s gpu=%d backend=%d layers=%d", "-", gpu, backend, layers, 0);
    return load(check(o, MODEL), path);
}
EXPORT int InitializeS2PipelineFromFiles(void *o, const char *path, const char *tokenizer, int32_t gpu,
                                         int32_t backend, int32_t layers, int follow) {
    trace("files %s gpu=%d backend=%d layers=%d follow=%d", "-", gpu, backend, layers, follow);
    return exists(tokenizer) && load(check(o, PIPELINE), path);
}
EXPORT void SyncS2TokenizerConfigFromS2Model(void *model, void *tokenizer) {
    check(model, MODEL);
    check(tokenizer, TOKENIZER);
}
#endif

EXPORT int InitializeS2GenerateParams(void *o, int32_t max_new_tokens, float temperature, float top_p,
                                      int32_t top_k, int32_t min_tokens, int32_t n_threads, int verbose) {
    Params *params = check(o, PARAMS);
    Params given = {PARAMS, max_new_tokens, min_tokens, temperature, top_p, top_k, n_threads, verbose};
    *params = given;
    trace("params %s max=%d top_k=%d min=%d threads=%d", "-", max_new_tokens, top_k, min_tokens, n_threads);
    trace("params %s temperature=%d top_p=%d verbose=%d", "-", (int)lround(temperature * 100),
          (int)lround(top_p * 100), verbose, 0);
    return 1;
}

/* The pitch of a reference, by its zero crossings; 44.1 kHz, mono, 16 bits or nothing. */
static int read_wav(const char *path, int32_t *num_samples) {
    uint8_t head[44];
    FILE *file = fopen(path, "rb");
    int16_t sample = 0, before = 0;
    int crossings = 0;
    if (!file) return -1;
    if (fread(head, 1, 44, file) != 44 || memcmp(head, "RIFF", 4) || memcmp(head + 36, "data", 4)
        || head[22] != 1 || head[24] + (head[25] << 8) != RATE || head[34] != 16) {
        fclose(file);
        return -1;
    }
    for (*num_samples = 0; fread(&sample, 2, 1, file) == 1; (*num_samples)++) {
        crossings += (sample >= 0) != (before >= 0);
        before = sample;
    }
    fclose(file);
    if (!*num_samples) abort(); /* as the real one */
    return (int)((double)crossings / 2 * RATE / *num_samples);
}

EXPORT int InitializeAudioPromptCodes(void *o, int32_t threads, const char *path, void *out, int32_t *T) {
    Codes *codes = check(out, CODES);
    int32_t num_samples;
    int hz = path ? read_wav(path, &num_samples) : -1;
    check(o, PIPELINE);
    trace("encode %s hz=%d threads=%d", "-", hz, threads, 0, 0);
    if (hz < 0) return -1;
    codes->num_frames = *T = (num_samples + FRAME - 1) / FRAME;
    codes->codes = calloc((size_t)(CODEBOOKS * codes->num_frames), sizeof(int32_t));
    codes->codes[0] = hz;
    return 1;
}

static int has(const char *text, const char *word) { return strstr(text, word) != NULL; }

static void act(const char *text) {
    if (has(text, "segfault")) raise(SIGSEGV);
    if (has(text, "abort")) abort();
    if (has(text, "hang")) wait_s(1000);
    if (has(text, "print")) {
        for (int i = 0; i < 20000; i++) printf("garbage \001\377 ");
        printf("%s\n", text);
        fflush(stdout);
    }
    if (has(text, "leak")) memset(malloc(1 << 20), 1, 1 << 20);
    if (has(text, "once")) {
        char path[4096];
        FILE *mark;
        snprintf(path, sizeof path, "%s/%u", getenv("FAKE_S2_MARKS"), (unsigned)strlen(text));
        if ((mark = fopen(path, "rb"))) { fclose(mark); return; }
        mark = fopen(path, "wb");
        fclose(mark);
        abort();
    }
}

/* What both synthesis calls check; 1 if speech may begin. Sets the frequency. */
static int begin(Object *pipeline, Params *params, Codes *codes, const int32_t *T, const char *path,
                 const char *transcript, const char *text, int *hz) {
    int code = 1;
    if (!pipeline || *(int *)pipeline != PIPELINE || !pipeline->is_ready || !params) return 0;
    check(params, PARAMS);
    if (is_speaking) abort(); /* two at once */
    if (!text || !*text || has(text, "<|")) abort(); /* the real one obeys, or speaks of nothing */
    if (params->max_new_tokens > 8192) abort();
    if (codes && !T) return -8;
    if ((codes || path) && (!transcript || !*transcript)) return -7;
    if (codes && (*T > ((Codes *)check(codes, CODES))->num_frames || *T < 1)) abort();
    *hz = 300 + (int)(strlen(text) % 100);
    if (codes) *hz = codes->codes[0];
    else if (path) code = -1;
    if (sscanf(text, "code %d", &code) == 1 && code != 1) return code;
    return code;
}

static int count_frames(const Params *params, const char *text) {
    int frames = (int)(strlen(text) / 2) + 2;
    return frames < params->max_new_tokens ? frames : params->max_new_tokens;
}

static float sample_at(int hz, int i) { return 0.5f * (float)sin(2 * 3.14159265358979 * hz * i / RATE); }

EXPORT float *GetS2AudioBufferDataPointer(void *o) { return ((Buffer *)check(o, BUFFER))->samples; }

EXPORT int S2Synthesize(void *o, void *p, void *b, void *codes, int32_t *T, const char *path,
                        const char *transcript, const char *text, const char *out, int32_t *num_samples) {
    int hz = 0;
    int code = begin(o, p, codes, T, path, transcript, text, &hz);
    (void)out;
    trace("whole %s code=%d", text, code, 0, 0, 0);
    if (code != 1 && code != -1) return code;
    is_speaking = 1;
    act(text);
    if (has(text, "slow")) wait_s(0.3);
    Buffer *buffer = check(b, BUFFER);
    *num_samples = has(text, "silent") ? 0 : FRAME * count_frames(p, text);
    buffer->samples = malloc(sizeof(float) * (size_t)(*num_samples + 1));
    for (int i = 0; i < *num_samples; i++) buffer->samples[i] = sample_at(hz, i);
    is_speaking = 0;
    return code;
}

#ifndef OLD_EXPORTS
static int write_header(const Callbacks *call) {
    uint8_t head[44] = "RIFF\360\377\377\177WAVEfmt ";
    memcpy(head + 36, "data\360\377\377\177", 8);
    return call->write(head, 44, call->user);
}

static int stream(const Callbacks *call, const Params *params, const char *text, int hz) {
    int frames = count_frames(params, text);
    static int16_t chunk[FRAME * FRAMES_PER_CHUNK];
    const char *then = has(text, "then") ? strstr(text, "then") : NULL;
    if (!then) act(text);
    if (!write_header(call)) return -10;
    if (has(text, "silent")) return 1;
    for (int frame = 0; frame < frames; frame++) {
        if (call->cancelled(call->user)) return -10;
        if (has(text, "slow")) wait_s(0.02);
        for (int i = 0; i < FRAME; i++) {
            int at = frame * FRAME + i;
            chunk[(frame % FRAMES_PER_CHUNK) * FRAME + i] = (int16_t)lrint(32768 * sample_at(hz, at));
        }
        int held = frame % FRAMES_PER_CHUNK + 1;
        if (held < FRAMES_PER_CHUNK && frame + 1 < frames) continue;
        /* An odd number of bytes first: chunks need not end at a sample. */
        if (!call->write((uint8_t *)chunk, 3, call->user)) return -10;
        if (!call->write((uint8_t *)chunk + 3, held * FRAME * 2 - 3, call->user)) return -10;
        if (then && frame < FRAMES_PER_CHUNK) { wait_s(0.05); act(then); }
    }
    call->done(call->user);
    return 1;
}

EXPORT int S2SynthesizeStreamingEx(void *o, void *p, Callbacks *call, void *codes, int32_t *T, const char *path,
                                   const char *transcript, const char *text, const StreamingParams *how) {
    int hz = 0;
    int code;
    if (!call || !call->write) return -9;
    code = begin(o, p, codes, T, path, transcript, text, &hz);
    trace("stream %s code=%d low_latency=%d", text, code, how->low_latency, 0, 0);
    trace("streaming %s holdback=%d context=%d pause=%d stride=%d", "-", how->holdback, how->context,
          how->sentence_pause_ms, how->stride);
    /* "-1 afterwards": un-cloned speech, which the caller learns of at the end. */
    if (code != 1 && code != -1) { if (call->error) call->error("told to fail", call->user); return code; }
    is_speaking = 1;
    int ended = stream(call, p, text, hz);
    is_speaking = 0;
    return ended == 1 ? code : ended;
}
#endif
