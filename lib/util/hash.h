/* hash.h: hashes for tables and for text features. Neither is for secrets or for untrusted keys. */
#ifndef MMQ_UTIL_HASH_H
#define MMQ_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Of two numbers; as fast as a table with them for keys deserves. */
static inline uint64_t
mmq_hash64_pair(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xd6e8feb86659fd93u);
	uint64_t folded = (uint64_t)product ^ (uint64_t)(product >> 64);

	product = (unsigned __int128)(folded ^ a) * 0xe7037ed1a0b428dbu;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t mmq_hash64(const void *bytes, size_t size);                       /* for tables in memory; may change between builds */
uint32_t mmq_murmur3_32(const void *bytes, size_t size, uint32_t seed);    /* MurmurHash3_x86_32 (Appleby): frozen, text_hash depends on it */

#endif
