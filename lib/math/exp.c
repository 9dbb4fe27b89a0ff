/* exp.c: the array forms of exp.h's kernels. A tail shorter than eight goes one by one, with the same bits. */
#include "math/exp.h"

#include "math/cpu.h"

/* One function per kernel and path; the bodies differ only in the kernel. */
#define PORTABLE(name, one)                                                                         \
	void                                                                                        \
	mmq_##name##_f32_portable(float *y, const float *x, size_t count)                           \
	{                                                                                           \
		for (size_t i = 0; i < count; i++)                                                  \
			y[i] = one(x[i]);                                                           \
	}

#if defined(__x86_64__)
#define ARRAYS(name, one, eight)                                                                    \
	PORTABLE(name, one)                                                                         \
	__attribute__((target("avx2,fma"))) static void                                             \
	name##_avx2(float *y, const float *x, size_t count)                                         \
	{                                                                                           \
		size_t i = 0;                                                                       \
		for (; i + 8 <= count; i += 8)                                                      \
			_mm256_storeu_ps(y + i, eight(_mm256_loadu_ps(x + i)));                     \
		for (; i < count; i++)                                                              \
			y[i] = one(x[i]);                                                           \
	}                                                                                           \
	void                                                                                        \
	mmq_##name##_f32(float *y, const float *x, size_t count)                                    \
	{                                                                                           \
		if (mmq_cpu_has_avx2())                                                             \
			name##_avx2(y, x, count);                                                   \
		else                                                                                \
			mmq_##name##_f32_portable(y, x, count);                                     \
	}
#else
#define ARRAYS(name, one, eight)                                                                    \
	PORTABLE(name, one)                                                                         \
	void                                                                                        \
	mmq_##name##_f32(float *y, const float *x, size_t count)                                    \
	{                                                                                           \
		mmq_##name##_f32_portable(y, x, count);                                             \
	}
#endif

ARRAYS(exp, mmq_exp1, mmq_exp8)
ARRAYS(sigmoid, mmq_sigmoid1, mmq_sigmoid8)
ARRAYS(tanh, mmq_tanh1, mmq_tanh8)
