/* hash.c: a multiply-and-fold 64-bit hash, and MurmurHash3_x86_32 after its published description. */
#include "util/hash.h"

#include <string.h>

static uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t
mmq_hash64(const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0x9e3779b97f4a7c15u ^ size, word;
	size_t left = size;

	for (; left >= 8; left -= 8, at += 8) {
		memcpy(&word, at, 8);
		hash = fold(hash ^ word, 0xd6e8feb86659fd93u);
	}
	word = 0;
	if (left > 0)
		memcpy(&word, at, left);
	return fold(fold(hash ^ word, 0xa0761d6478bd642fu), 0xe7037ed1a0b428dbu);
}

static uint32_t
rotate(uint32_t x, unsigned bits)
{
	return x << bits | x >> (32 - bits);
}

uint32_t
mmq_murmur3_32(const void *bytes, size_t size, uint32_t seed)
{
	const unsigned char *at = bytes;
	uint32_t hash = seed, word;
	size_t left = size;

	for (; left >= 4; left -= 4, at += 4) {
		word = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
		hash ^= rotate(word * 0xcc9e2d51u, 15) * 0x1b873593u;
		hash = rotate(hash, 13) * 5 + 0xe6546b64u;
	}
	word = 0;
	for (size_t i = left; i > 0; i--)
		word = word << 8 | at[i - 1];
	if (left > 0)
		hash ^= rotate(word * 0xcc9e2d51u, 15) * 0x1b873593u;
	hash ^= (uint32_t)size;
	hash = (hash ^ hash >> 16) * 0x85ebca6bu;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35u;
	return hash ^ hash >> 16;
}
