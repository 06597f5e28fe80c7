"""Features of frames, sound and text, and how they become one vector. Pure: arrays in, arrays out."""
