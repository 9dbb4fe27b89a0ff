/* table.c: the tables of table.h. */
#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "util/mem.h"

static const char *const names[] = { "a", "b", "c", "d", "e", "f" };

void
table_make(struct table *t, enum mmq_task task, size_t rows, uint64_t seed)
{
	struct mmq_rng rng = mmq_rng_stream(seed, 1, 1);
	memset(t, 0, sizeof(*t));
	t->rows = rows;
	t->has_target = task != MMQ_ONE_CLASS;
	t->classes = task == MMQ_REGRESSION || task == MMQ_ONE_CLASS ? 0 : task == MMQ_BINARY ? 2 : 3;
	for (size_t r = 0; r < rows; r++) {
		double score = 0.0;
		t->row_start[r + 1] = t->row_start[r];
		for (size_t c = 0; c < TABLE_COLS; c++) {
			float value = mmq_rng_uniform(&rng) < 0.33 ? 0.0f : (float)mmq_rng_normal(&rng);
			t->f32[r * TABLE_COLS + c] = value;
			t->f64[r * TABLE_COLS + c] = (double)value;
			if (value != 0.0f) {
				t->value[t->row_start[r + 1]] = value;
				t->col[t->row_start[r + 1]++] = (uint32_t)c;
			}
			score += (double)value * (c == 0 ? 1.5 : c == 1 ? -1.0 : 0.2);
		}
		for (size_t c = 0; c < TABLE_CODES; c++) {
			t->codes[r * TABLE_CODES + c] = (int32_t)mmq_rng_below(&rng, 3 + c);
			score += 0.3 * (double)t->codes[r * TABLE_CODES + c] - 0.3;
		}
		score += 0.3 * mmq_rng_normal(&rng);
		t->y[r] = t->classes == 0 ? score : t->classes == 2 ? (score > 0.0 ? 1.0 : 0.0) : score < -0.6 ? 0.0 : score < 0.8 ? 1.0 : 2.0;
		t->weight[r] = 1.0f;
	}
	for (size_t c = 0; c < TABLE_COLS + TABLE_CODES; c++)
		t->features[c] = (struct mmq_feature){ .name = names[c], .kind = c < TABLE_COLS ? MMQ_NUMERIC : MMQ_CATEGORY,
			.cardinality = c < TABLE_COLS ? 0 : (uint32_t)(3 + c - TABLE_COLS), .source = (uint32_t)c };
}

bool
table_form_is_accepted(const struct mmq_engine *engine, enum table_form form)
{
	unsigned needs = form == TABLE_F64 ? MMQ_ACCEPTS_F64 : form == TABLE_CSR ? MMQ_ACCEPTS_SPARSE : form == TABLE_CODED ? MMQ_ACCEPTS_CATEGORY : 0;
	return (engine->accepts & needs) == needs;
}

struct mmq_dataset
table_dataset(const struct table *t, enum table_form form)
{
	struct mmq_dataset data = { .x = { .rows = t->rows, .cols = TABLE_COLS, .dtype = MMQ_F32, .dense = t->f32, .stride = TABLE_COLS },
		.features = t->features, .features_count = TABLE_COLS, .y = t->has_target ? t->y : NULL, .classes = t->classes };
	if (form == TABLE_F64) {
		data.x.dtype = MMQ_F64;
		data.x.dense = t->f64;
	} else if (form == TABLE_CSR) {
		data.x.dense = NULL;
		data.x.stride = 0;
		data.x.row_start = t->row_start;
		data.x.col = t->col;
		data.x.value = t->value;
	} else if (form == TABLE_CODED) {
		data.x.codes = t->codes;
		data.x.codes_cols = TABLE_CODES;
		data.features_count = TABLE_COLS + TABLE_CODES;
	}
	return data;
}

void *
fit_table(const struct mmq_engine *engine, const struct mmq_dataset *train, enum mmq_task task, const struct fit_how *how, struct mmq_err *err)
{
	struct mmq_params *params;
	void *state = NULL;
	memset(err, 0, sizeof(*err));
	if (mmq_params_parse(&params, engine->params, how->settings, how->settings_count, err) == -1)
		return NULL;
	struct mmq_fit fit = { .train = train, .valid = how->valid, .task = task, .params = params, .seed = how->seed, .pool = how->pool,
		.progress = how->progress, .previous = how->previous, .checkpoint = how->checkpoint, .resume = how->resume };
	if (engine->check == NULL || engine->check(&fit, err) == 0)
		engine->train(&state, &fit, err);
	mmq_params_destroy(&params);
	return state;
}

unsigned
table_gives(const struct mmq_engine *engine, const void *state)
{
	return engine->gives != NULL ? engine->gives(state) : engine->outputs;
}

double *
predict_table(const struct mmq_engine *engine, const void *state, const struct mmq_batch *x, uint32_t classes, size_t *count_out,
    struct mmq_err *err)
{
	size_t cols = engine->score_cols(state);
	bool has_probability = classes > 0 && (table_gives(engine, state) & MMQ_OUT_PROBABILITY) != 0;
	unsigned wanted = MMQ_OUT_SCORE | (has_probability ? MMQ_OUT_PROBABILITY : 0u);
	size_t scores = x->rows * cols, count = scores + (has_probability ? x->rows * classes : 0);
	double *values = mmq_array(count + 1, sizeof(*values));
	void *scratch = mmq_aligned(engine->scratch_bytes(state, x->rows, wanted) + 1);
	struct mmq_outputs out = { .wanted = wanted, .score = values, .score_cols = cols, .probability = has_probability ? values + scores : NULL };
	int rc = engine->predict(state, x, &out, scratch, err);
	free(scratch);
	*count_out = count;
	if (rc == -1) {
		free(values);
		return NULL;
	}
	return values;
}
