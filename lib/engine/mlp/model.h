/* model.h: inside the mlp engine: a trained network as the engine's state. */
#ifndef MMQ_ENGINE_MLP_MODEL_H
#define MMQ_ENGINE_MLP_MODEL_H

#include "engine/mlp/net.h"

struct mmq_mlp_model {
	struct mmq_mlp_net net;
	uint32_t classes;
	size_t features_count;           /* of contributions; 0: not known, none are given */
	uint32_t *feature_cols;          /* (features_count) columns that each takes; 0: a category */
	struct mmq_mlp_report report;
	char *warning;
};

enum { MMQ_MLP_WIDTH_MAX = 1024 };                    /* of an embedded category */
enum { MMQ_MLP_ACCEPTS = MMQ_ACCEPTS_CATEGORY | MMQ_ACCEPTS_SPARSE | MMQ_ACCEPTS_VECTOR | MMQ_WANTS_SCALED | MMQ_WANTS_ONE_HOT | MMQ_WANTS_TARGET_SCALED };

extern const char *const mmq_mlp_loss_names[MMQ_MLP_LOSSES];

bool mmq_mlp_allocate(struct mmq_mlp_net *net);  /* params and back, zeros; false: no memory */
void mmq_mlp_net_fini(struct mmq_mlp_net *net);
void mmq_mlp_model_destroy(void **model);
/* design.c: without weights; net is to be given to mmq_mlp_net_fini, unless -1 came back. */
int mmq_mlp_design(struct mmq_mlp_net *net, const struct mmq_fit *fit, struct mmq_err *err);
/* saved.c */
int mmq_mlp_save(const void *model, struct mmq_part *out, struct mmq_err *err);
int mmq_mlp_open(void **model_out, const struct mmq_part *in, struct mmq_err *err);
int mmq_mlp_describe(const void *model, struct mmq_part *out, struct mmq_err *err);
/* attribute.c: out (score_cols, features_count) of one row, whose last layer gave z; base (score_cols). scratch: that many floats, 64-byte aligned. */
size_t mmq_mlp_attribute_floats(const struct mmq_mlp_model *model);
void mmq_mlp_attribute(const struct mmq_mlp_model *model, const struct mmq_mlp_rows *rows, size_t row, const float *z, double *out, double *base,
    float *scratch);
/* predict.c */
void mmq_mlp_score_of(const struct mmq_mlp_model *model, const float *z, double *score);    /* one row: last layer's values -> (score_cols) */
size_t mmq_mlp_scratch_bytes(const void *model, size_t rows_max, unsigned wanted);
int mmq_mlp_predict(const void *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err);

#endif
