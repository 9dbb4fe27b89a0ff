/* model_inner.h: what model.c, fit.c and predict.c share of a model; nobody else includes it. */
#ifndef MMQ_MODEL_MODEL_INNER_H
#define MMQ_MODEL_MODEL_INNER_H

#include "model/model.h"

struct mmq_model {
	struct mmq_container *container;   /* NULL: fitted here */
	const struct mmq_engine *engine;
	struct mmq_schema schema;          /* features only */
	struct mmq_prepare *prepare;
	const struct mmq_feature *features;
	size_t features_count;
	void *state;
	struct mmq_decide decide;
	struct mmq_calibrate calibrate;    /* kind NONE: probabilities are the engine's own */
	unsigned outputs;
	const char *contribution_method;   /* NULL: it gives none */
	uint32_t *contribution_column;     /* (features_count): the model's column of each contribution, which come in the batch's order */
	bool is_sampled;                   /* contributions come with their error */
	size_t score_cols, leaf_cols, columns;
	const char **column_names;         /* (columns); the texts are the schema's or the features' */
};

/* Fill what is derived from engine, state, prepare and decide. DATA_LOSS: they do not fit each other. */
int mmq_model_complete(struct mmq_model *model, struct mmq_err *err);

#endif
