/* rng.h: seeded random numbers. Counter based: the k-th number of stream (seed, a, b) does not depend on any other draw,
 * so results do not depend on which thread draws first. Mixing: splitmix64 (Steele, Lea, Flood 2014). */
#ifndef MMQ_MATH_RNG_H
#define MMQ_MATH_RNG_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct mmq_rng { uint64_t state; };

static inline uint64_t
mmq_mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* A stream of its own for each (seed, a, b), e.g. (seed, tree, node). */
static inline struct mmq_rng
mmq_rng_stream(uint64_t seed, uint64_t a, uint64_t b)
{
	return (struct mmq_rng){ mmq_mix64(mmq_mix64(mmq_mix64(seed) ^ a) ^ b) };
}

static inline uint64_t
mmq_rng_next(struct mmq_rng *rng)
{
	uint64_t value = mmq_mix64(rng->state);
	rng->state += 0x9e3779b97f4a7c15u;
	return value;
}

/* Uniform in [0, 1), 53 bits. */
static inline double
mmq_rng_uniform(struct mmq_rng *rng)
{
	return (double)(mmq_rng_next(rng) >> 11) * 0x1p-53;
}

/* Uniform in 0..bound-1 without bias worth naming (multiply-shift, Lemire 2019); bound >= 1. */
static inline uint64_t
mmq_rng_below(struct mmq_rng *rng, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)mmq_rng_next(rng) * bound >> 64);
}

/* Standard normal (Box-Muller, one of the two). */
static inline double
mmq_rng_normal(struct mmq_rng *rng)
{
	double u = 1.0 - mmq_rng_uniform(rng), v = mmq_rng_uniform(rng);
	return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* Fisher-Yates over indices (count). */
static inline void
mmq_rng_shuffle(struct mmq_rng *rng, uint32_t *indices, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		size_t j = (size_t)mmq_rng_below(rng, i);
		uint32_t swap = indices[i - 1];
		indices[i - 1] = indices[j];
		indices[j] = swap;
	}
}

#endif
