/* cpu.h: what this processor can do, asked once; and the environment that OpenBLAS needs before it starts. */
#ifndef MMQ_MATH_CPU_H
#define MMQ_MATH_CPU_H

#include <stdbool.h>

bool mmq_cpu_has_avx2(void);          /* AVX2 and FMA; false if MMQ_CPU=portable is in the environment */
bool mmq_cpu_has_avx512(void);        /* AVX-512F as well; false if MMQ_CPU is portable or avx2. Kernels that use it give AVX2's bits */
const char *mmq_cpu_path(void);       /* "avx2" or "portable": recorded in cards and bench headers */

/* OpenBLAS picks its kernel and starts its threads before main. Debian's 0.3.21 guesses wrong on newer processors and
 * its threads fight with ours, so a process that uses BLAS calls this first: when OPENBLAS_NUM_THREADS or
 * OPENBLAS_CORETYPE is not set, it sets them (1; Haswell where AVX2 is there) and executes itself once more. Returns if nothing was to do. */
void mmq_cpu_pin_blas(char **argv);
void mmq_cpu_set_blas_environment(void); /* the same settings for children that are executed later */

#endif
