/* Sends envelopes through the engine and compares what comes back. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

extern ptrdiff_t wireframe_echo(const uint8_t *input, size_t input_len,
                                uint8_t *output, size_t output_len);

int main(void) {
    /* Two envelopes with a correlation id: id 1, correlation 42 and 43. */
    static const uint8_t requests[] = {
        0, 0, 0, 7, 1, 1, 42, 3, 1, 2, 3,
        0, 0, 0, 7, 1, 1, 43, 3, 4, 5, 6,
    };
    /* A header that announces more than there is. */
    static const uint8_t part[] = {0, 0, 0, 7, 1, 1, 42};
    uint8_t replies[64];

    ptrdiff_t said = wireframe_echo(requests, sizeof requests, replies, sizeof replies);
    if (said != (ptrdiff_t)sizeof requests || memcmp(replies, requests, sizeof requests) != 0) {
        fprintf(stderr, "no-std: expected %zu echoed bytes, got %td or others\n",
                sizeof requests, said);
        return 1;
    }
    said = wireframe_echo(part, sizeof part, replies, sizeof replies);
    if (said != 0) {
        fprintf(stderr, "no-std: expected silence for part of a frame, got %td\n", said);
        return 1;
    }
    uint8_t many[33];
    for (size_t i = 0; i < sizeof many; i += 11) {
        memcpy(many + i, requests, 11);
        many[i + 6] = (uint8_t)i;
    }
    said = wireframe_echo(many, sizeof many, replies, sizeof replies);
    if (said != -1) {
        fprintf(stderr, "no-std: expected the third request to find no token, got %td\n", said);
        return 1;
    }
    puts("no-std: 2 envelopes echoed by the engine, without std");
    return 0;
}
