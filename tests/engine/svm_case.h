/* svm_case.h: data, fits and scores that the tests of the svm engine share. What fails, fails the test. */
#ifndef TESTS_ENGINE_SVM_CASE_H
#define TESTS_ENGINE_SVM_CASE_H

#include "engine/engine.h"

extern const struct mmq_engine mmq_engine_svm;

struct svm_data {
	float *x;
	double *y;
	float *weight;
	size_t rows, cols;
	uint32_t classes;
	struct mmq_pool *pool;   /* to fit with; borrowed, may be NULL */
};

void svm_load_heart(struct svm_data *data);
/* Blobs of `classes` kinds on a circle in the first two of three columns; `spread` is their standard deviation. */
void svm_blobs(struct svm_data *data, size_t rows, uint32_t classes, double spread, uint64_t seed);
void svm_data_free(struct svm_data *data);

void *svm_fit(const struct svm_data *data, enum mmq_task task, const char *const *settings, size_t settings_count);
double *svm_scores(const void *state, const struct svm_data *data, size_t from, size_t rows);  /* free() it */
double svm_described(const void *state, const char *key);
void svm_close_to(double got, double want, double tolerance);

#endif
