/* model.h: a fitted linear model, shared by training, prediction and the converters of other libraries' files. */
#ifndef MMQ_ENGINE_LINEAR_MODEL_H
#define MMQ_ENGINE_LINEAR_MODEL_H

#include "engine/engine.h"
#include "engine/linear/linear.h"

enum { MMQ_LINEAR_ACCEPTS = MMQ_ACCEPTS_SPARSE | MMQ_ACCEPTS_VECTOR | MMQ_ACCEPTS_F64 | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT };

struct mmq_linear_model {
	size_t cols, outputs, features;
	uint32_t classes;
	enum mmq_linear_link link;               /* from scores to probabilities */
	const double *coef, *intercept, *mean;   /* (outputs, cols), (outputs), (cols) */
	const uint32_t *feature_of;              /* (cols) */
	double *by_col;                          /* (cols, outputs): coef turned, for more than one output */
	double *owned_numbers;                   /* what training allocated; NULL after open */
	uint32_t *owned_map;
	int64_t iterations;
	double loss, gap;                        /* gap: NaN when not known */
	bool converged;
	char *method, *warning;
	char *loss_name;                         /* what was minimised, as the parameter says it; "" when not known */
};

void mmq_linear_model_turn(struct mmq_linear_model *model);   /* make by_col */
int mmq_linear_save(const void *state, struct mmq_part *out, struct mmq_err *err);
int mmq_linear_open(void **state_out, const struct mmq_part *in, struct mmq_err *err);
size_t mmq_linear_score_cols(const void *state);
void mmq_linear_shape(const void *state, struct mmq_state_shape *shape);
unsigned mmq_linear_gives(const void *state);
size_t mmq_linear_scratch_bytes(const void *state, size_t rows_max, unsigned wanted);
int mmq_linear_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err);
int mmq_linear_describe(const void *state, struct mmq_part *out, struct mmq_err *err);
void mmq_linear_destroy(void **state);

#endif
