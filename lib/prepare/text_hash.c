/* text_hash.c: tokens are written lower-case into one line with single spaces, so a pair of neighbours is simply
 * the bytes from the start of one to the end of the next. */
#include "prepare/text_hash.h"

#include <math.h>
#include <stdbool.h>

#include "util/hash.h"

size_t
mmq_text_hash_terms_max(size_t text_size)
{
	return text_size / 3 * 2 + 2;  /* a token and its separator take three bytes at least, and give two terms */
}

size_t
mmq_text_hash_scratch_bytes(size_t text_size)
{
	return (mmq_text_hash_terms_max(text_size)) * sizeof(uint64_t) + text_size + 16;
}

/* One character of UTF-8 at `at`: its bytes, and whether it belongs to a token. Broken bytes count as one separator. */
static size_t
character(const unsigned char *at, const unsigned char *end, bool *is_letter)
{
	unsigned c = *at;

	if (c < 0x80) {
		*is_letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		return 1;
	}
	size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
	*is_letter = false;
	if (size == 1 || (size_t)(end - at) < size)
		return 1;
	if (size == 2)
		*is_letter = c > 0xc2;  /* 0xc2: U+0080-U+00BF */
	else if (size == 3)
		*is_letter = !(c == 0xe2 && (at[1] == 0x80 || (at[1] == 0x81 && at[2] < 0xb0))) && !(c == 0xe3 && at[1] == 0x80);
	else
		*is_letter = true;
	return size;
}

static uint64_t
term_key(const char *from, const char *to)
{
	int32_t hash = (int32_t)mmq_murmur3_32(from, (size_t)(to - from), 0);
	uint32_t size = hash < 0 ? 0u - (uint32_t)hash : (uint32_t)hash;
	return (uint64_t)(size % MMQ_TEXT_HASH_COLS) << 1 | (hash < 0);
}

/* Shell sort: in place and without the allocation that qsort may do. Gaps: Ciura 2001, then times 2.25. */
static void
sort_keys(uint64_t *keys, size_t count)
{
	static const size_t gaps[] = { 2000000, 900000, 400000, 180000, 80000, 35000, 15000, 7000, 3200, 1577, 701, 301, 132, 57, 23, 10, 4, 1 };

	for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++)
		for (size_t i = gaps[g]; i < count; i++) {
			uint64_t key = keys[i];
			size_t j = i;
			for (; j >= gaps[g] && keys[j - gaps[g]] > key; j -= gaps[g])
				keys[j] = keys[j - gaps[g]];
			keys[j] = key;
		}
}

/* Terms of text into keys (column << 1 | negative). line has text.size + 1 bytes. */
static size_t
collect(struct mmq_text text, uint64_t *keys, char *line)
{
	const unsigned char *at = (const unsigned char *)text.at, *end = at + text.size;
	const char *previous = NULL;
	size_t count = 0;

	while (at < end) {
		char *start = line;
		bool is_letter;
		size_t size, characters = 0;
		while (at < end && (size = character(at, end, &is_letter), is_letter)) {
			for (size_t i = 0; i < size; i++)
				*line++ = (char)(at[i] >= 'A' && at[i] <= 'Z' ? at[i] + 32 : at[i]);
			at += size;
			characters++;
		}
		if (characters >= 2) {
			keys[count++] = term_key(start, line);
			if (previous != NULL)
				keys[count++] = term_key(previous, line);
			previous = start;
			*line++ = ' ';
		} else {
			line = start;
		}
		while (at < end && (size = character(at, end, &is_letter), !is_letter))
			at += size;
	}
	return count;
}

size_t
mmq_text_hash(struct mmq_text text, void *scratch, uint32_t *cols_out, double *values_out)
{
	uint64_t *keys = scratch;
	size_t merged = 0;
	double squares = 0;

	if (text.at == NULL)
		return 0;
	size_t count = collect(text, keys, (char *)(keys + mmq_text_hash_terms_max(text.size)));
	sort_keys(keys, count);
	for (size_t i = 0; i < count;) {
		uint64_t col = keys[i] >> 1;
		double sum = 0;
		for (; i < count && keys[i] >> 1 == col; i++)
			sum += keys[i] & 1 ? -1 : 1;
		if (sum == 0)
			continue;
		cols_out[merged] = (uint32_t)col;
		values_out[merged++] = sum;
		squares += sum * sum;
	}
	double length = sqrt(squares);
	for (size_t i = 0; i < merged; i++)
		values_out[i] /= length;
	return merged;
}
