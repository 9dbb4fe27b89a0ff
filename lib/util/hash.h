/* hash.h: hashes for tables and for text features. Neither is for secrets or for untrusted keys. */
#ifndef MMQ_UTIL_HASH_H
#define MMQ_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t mmq_hash64(const void *bytes, size_t size);                       /* for tables in memory; may change between builds */
uint32_t mmq_murmur3_32(const void *bytes, size_t size, uint32_t seed);    /* MurmurHash3_x86_32 (Appleby): frozen, text_hash depends on it */

#endif
