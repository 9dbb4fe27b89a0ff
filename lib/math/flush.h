/* flush.h: treat subnormal floats as zero within a piece of work. Optimiser moments of dead units decay into subnormals,
 * which cost a hundred cycles each. The mode belongs to the thread and is put back. */
#ifndef MMQ_MATH_FLUSH_H
#define MMQ_MATH_FLUSH_H

#if defined(__x86_64__)
#include <immintrin.h>
static inline unsigned
mmq_flush_begin(void)
{
	unsigned old = _mm_getcsr();
	_mm_setcsr(old | 0x8040u);   /* flush to zero, subnormals are zero */
	return old;
}
static inline void
mmq_flush_end(unsigned old)
{
	_mm_setcsr(old);
}
#else
static inline unsigned
mmq_flush_begin(void)
{
	return 0;
}
static inline void
mmq_flush_end(unsigned old)
{
	(void)old;
}
#endif

#endif
