/* cpu.c: run-time dispatch and OpenBLAS's environment. */
#include "math/cpu.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
ask_avx2(void)
{
#if defined(__x86_64__)
	const char *forced = getenv("MMQ_CPU");
	if (forced != NULL && strcmp(forced, "portable") == 0)
		return false;
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
	return false;
#endif
}

bool
mmq_cpu_has_avx2(void)
{
	static atomic_int answer;  /* 0: not asked yet, 1: no, 2: yes; kernels ask on every call */
	int known = atomic_load_explicit(&answer, memory_order_relaxed);
	if (known == 0) {
		known = ask_avx2() ? 2 : 1;
		atomic_store_explicit(&answer, known, memory_order_relaxed);
	}
	return known == 2;
}

bool
mmq_cpu_has_avx512(void)
{
#if defined(__x86_64__)
	static atomic_int known;         /* 0: not asked, 1: no, 2: yes */
	int answer = atomic_load_explicit(&known, memory_order_relaxed);
	if (answer == 0) {
		const char *wanted = getenv("MMQ_CPU");
		bool is_refused = wanted != NULL && strcmp(wanted, "avx2") == 0;
		answer = mmq_cpu_has_avx2() && !is_refused && __builtin_cpu_supports("avx512f") ? 2 : 1;
		atomic_store_explicit(&known, answer, memory_order_relaxed);
	}
	return answer == 2;
#else
	return false;
#endif
}

const char *
mmq_cpu_path(void)
{
	return mmq_cpu_has_avx2() ? "avx2" : "portable";
}

void
mmq_cpu_set_blas_environment(void)
{
	setenv("OPENBLAS_NUM_THREADS", "1", 0);
#if defined(__x86_64__)
	/* Not mmq_cpu_has_avx2: BLAS keeps its fast kernel also when our own kernels are asked to be portable. */
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		setenv("OPENBLAS_CORETYPE", "Haswell", 0);
#endif
}

void
mmq_cpu_pin_blas(char **argv)
{
	bool is_pinned = getenv("OPENBLAS_NUM_THREADS") != NULL;
#if defined(__x86_64__)
	is_pinned = is_pinned && getenv("OPENBLAS_CORETYPE") != NULL;
#endif
	if (is_pinned || getenv("MMQ_BLAS_PINNED") != NULL)
		return;
	mmq_cpu_set_blas_environment();
	setenv("MMQ_BLAS_PINNED", "1", 1);  /* never twice, whatever the environment says */
	/* By its real path, so that process lists show the program's name; else by the link, which works for a deleted file too. */
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length > 0) {
		path[length] = '\0';
		execv(path, argv);
	}
	execv("/proc/self/exe", argv);
	/* Could not: go on with what OpenBLAS chose; answers stay right on processors it knows. */
}
