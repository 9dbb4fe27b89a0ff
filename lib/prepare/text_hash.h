/* text_hash.h: text_hash version 1: free text to 2^18 sparse numbers. Its meaning is frozen: models depend on it.
 *
 * ASCII letters are lower-cased. A token is two or more letters and digits in a row, where every character from U+0080 on counts
 * as a letter as it is, except U+0080-U+00BF, U+2000-U+206F and U+3000-U+303F, which separate as all other ASCII does.
 * Terms are tokens and pairs of neighbours joined by a space. A term's hash h is MurmurHash3_x86_32 with seed 0, read as signed:
 * column |h| mod 2^18 gains +1 if h >= 0, else -1. The row is divided by its Euclidean length. */
#ifndef MMQ_PREPARE_TEXT_HASH_H
#define MMQ_PREPARE_TEXT_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"

enum { MMQ_TEXT_HASH_COLS = 1 << 18 };

size_t mmq_text_hash_scratch_bytes(size_t text_size);
/* cols_out, values_out: room for mmq_text_hash_terms_max(size) entries; ascending columns, no zeros. Returns how many.
 * scratch is 8-byte aligned and only used during the call. A missing text gives none. */
size_t mmq_text_hash_terms_max(size_t text_size);
size_t mmq_text_hash(struct mmq_text text, void *scratch, uint32_t *cols_out, double *values_out);

#endif
