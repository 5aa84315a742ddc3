"""S2 Pro through the s2.cpp library."""
