/* test_engine_allocations.c: predict allocates nothing, counted by a malloc of this program's own over glibc's.
 * Sanitizers bring their own allocator; under them there is nothing to count. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "laws.h"
#include "table.h"
#include "util/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_COUNTED = 0 };
static int counting, allocations;
#else
enum { IS_COUNTED = 1 };
static _Thread_local int counting, allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *
malloc(size_t bytes)
{
	allocations += counting;
	return __libc_malloc(bytes);
}

void *
calloc(size_t count, size_t bytes)
{
	allocations += counting;
	return __libc_calloc(count, bytes);
}

void *
realloc(void *old, size_t bytes)
{
	allocations += counting;
	return __libc_realloc(old, bytes);
}

void *
aligned_alloc(size_t alignment, size_t bytes)
{
	allocations += counting;
	return __libc_memalign(alignment, bytes);
}

int
posix_memalign(void **out, size_t alignment, size_t bytes)
{
	allocations += counting;
	*out = __libc_memalign(alignment, bytes);
	return *out == NULL ? ENOMEM : 0;
}
#endif

static struct table table;

static void
check_form(const struct mmq_engine *engine, enum mmq_task task, enum table_form form)
{
	struct mmq_dataset data = table_dataset(&table, form);
	const struct fit_how plain = { .seed = 7 };
	struct mmq_err err;
	void *state = fit_table(engine, &data, task, &plain, &err);
	LAW(engine, task, state != NULL);
	unsigned wanted = MMQ_OUT_SCORE | (data.classes > 0 ? table_gives(engine, state) & MMQ_OUT_PROBABILITY : 0u);
	size_t rows = data.x.rows, cols = engine->score_cols(state);
	void *scratch = mmq_aligned(engine->scratch_bytes(state, rows, wanted) + 1);
	double *values = mmq_array(rows * (cols + data.classes), sizeof(*values));
	struct mmq_outputs out = { .wanted = wanted, .score = values, .score_cols = cols, .probability = values + rows * cols };
	for (; rows > 0; rows /= 5) {
		data.x.rows = rows;
		allocations = 0;
		counting = 1;
		int rc = engine->predict(state, &data.x, &out, scratch, &err);
		counting = 0;
		LAW(engine, task, rc == 0);
		LAW(engine, task, allocations == 0);
	}
	free(values);
	free(scratch);
	engine->destroy(&state);
}

static void
test_predict_allocates_nothing(void **unused)
{
	(void)unused;
	EACH(engine, task) {
		table_make(&table, task, 120, 3);
		for (int form = 0; form < TABLE_FORMS; form++)
			if (table_form_is_accepted(engine, (enum table_form)form))
				check_form(engine, task, (enum table_form)form);
	}
}

static void
test_the_counter_counts(void **unused)
{
	(void)unused;
	allocations = 0;
	counting = 1;
	void *piece = mmq_alloc(16), *aligned = mmq_aligned(64);
	counting = 0;
	free(piece);
	free(aligned);
	assert_int_equal(allocations, IS_COUNTED ? 2 : 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_counter_counts),
		cmocka_unit_test(test_predict_allocates_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
