/* table.h: small made-up tables in every form an engine may accept, and fits and predictions over them in one call. */
#ifndef TESTS_CONTRACT_TABLE_H
#define TESTS_CONTRACT_TABLE_H

#include "engine/engine.h"

enum { TABLE_COLS = 4, TABLE_CODES = 2, TABLE_ROWS_MAX = 200 };
enum table_form { TABLE_F32, TABLE_F64, TABLE_CSR, TABLE_CODED, TABLE_FORMS };

struct table {
	size_t rows;
	uint32_t classes;
	bool has_target;
	float f32[TABLE_ROWS_MAX * TABLE_COLS], value[TABLE_ROWS_MAX * TABLE_COLS], weight[TABLE_ROWS_MAX];
	double f64[TABLE_ROWS_MAX * TABLE_COLS], y[TABLE_ROWS_MAX];
	int32_t codes[TABLE_ROWS_MAX * TABLE_CODES];
	uint64_t row_start[TABLE_ROWS_MAX + 1];
	uint32_t col[TABLE_ROWS_MAX * TABLE_COLS];
	struct mmq_feature features[TABLE_COLS + TABLE_CODES];
};

/* Learnable, with some noise; about a third of the cells are 0. classes by task: 0, 2 or 3; one-class data has no target. */
void table_make(struct table *table, enum mmq_task task, size_t rows, uint64_t seed);
bool table_form_is_accepted(const struct mmq_engine *engine, enum table_form form);
struct mmq_dataset table_dataset(const struct table *table, enum table_form form);

/* How one fit is asked for; zeroed members are defaults. */
struct fit_how {
	const struct mmq_dataset *valid;
	struct mmq_pool *pool;
	const struct mmq_progress *progress;
	const void *previous;
	const struct mmq_checkpoint *checkpoint;
	const struct mmq_part *resume;
	const char *const *settings;
	size_t settings_count;
	uint64_t seed;
};
/* NULL and err: refused. */
void *fit_table(const struct mmq_engine *engine, const struct mmq_dataset *train, enum mmq_task task, const struct fit_how *how,
    struct mmq_err *err);

/* Scores, then probabilities when the engine has them for a classified task, of all rows; count_out numbers, the caller's to free.
 * NULL and err: refused. */
unsigned table_gives(const struct mmq_engine *engine, const void *state);   /* the outputs of this state */
double *predict_table(const struct mmq_engine *engine, const void *state, const struct mmq_batch *x, uint32_t classes, size_t *count_out,
    struct mmq_err *err);

#endif
