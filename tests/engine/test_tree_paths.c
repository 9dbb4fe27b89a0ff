/* test_tree_paths.c: a fit gives the same bits on every instruction set that this processor has. What it has is asked once a process, so each
 * way is tried in a child of its own, which sends back its scores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/engine/tree_case.h"
#include "util/mem.h"

enum { ROWS = 3000, CLASSES = 3 };

static const char *const fits[] = { "num_iterations=8", "num_iterations=8 lambda_l1=0.5 lambda_l2=2 min_data_in_leaf=1",
	"num_iterations=8 lambda_l2=1e6", "num_iterations=8 monotone_constraints=1,-1", "num_iterations=8 extra_trees=true max_bin=37",
	"num_iterations=8 num_leaves=200 min_data_in_leaf=2", "boosting=rf num_iterations=4", "boosting=tree max_depth=7" };

/* Scores (ROWS * CLASSES, those that the task has) of one fit. */
static void
score_fit(const char *settings, uint32_t classes, double *out)
{
	struct tree_case c;
	tree_case_init(&c, ROWS, 11, 1, 9, classes);
	tree_case_fill(&c, 5);
	void *state = tree_case_train_well(&c, settings);
	double *score = tree_case_score(state, &c.data.x, NULL, NULL, classes);
	memcpy(out, score, ROWS * mmq_engine_tree.score_cols(state) * sizeof(*score));
	free(score);
	mmq_engine_tree.destroy(&state);
	tree_case_fini(&c);
}

static void
score_in_child(const char *cpu, const char *settings, uint32_t classes, double *out)
{
	int ends[2], status = -1;
	size_t bytes = (size_t)ROWS * CLASSES * sizeof(*out), done = 0;
	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		double *score = mmq_array((size_t)ROWS * CLASSES, sizeof(*score));
		setenv("MMQ_CPU", cpu, 1);
		score_fit(settings, classes, score);
		for (ssize_t sent; done < bytes && (sent = write(ends[1], (const char *)score + done, bytes - done)) > 0; done += (size_t)sent)
			continue;
		_exit(done < bytes);
	}
	close(ends[1]);
	for (ssize_t got; done < bytes && (got = read(ends[0], (char *)out + done, bytes - done)) > 0; done += (size_t)got)
		continue;
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(done, bytes);
}

static void
test_every_instruction_set_gives_the_same_bits(void **unused)
{
	(void)unused;
	double *best = mmq_array((size_t)ROWS * CLASSES, sizeof(*best)), *other = mmq_array((size_t)ROWS * CLASSES, sizeof(*other));
	for (size_t k = 0; k < sizeof(fits) / sizeof(fits[0]); k++) {
		for (uint32_t classes = 0; classes <= CLASSES; classes += classes == 0 ? 2 : 1) {
			static const char *const cpus[] = { "portable", "avx2" };
			score_in_child("", fits[k], classes, best);
			size_t same = 1;
			while (same < ROWS && best[same] == best[0])
				same++;
			assert_true(same < ROWS);
			for (size_t n = 0; n < 2; n++) {
				score_in_child(cpus[n], fits[k], classes, other);
				assert_memory_equal(best, other, (size_t)ROWS * CLASSES * sizeof(*best));
			}
		}
	}
	free(best);
	free(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_instruction_set_gives_the_same_bits) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
