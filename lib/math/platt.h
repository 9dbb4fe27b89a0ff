/* platt.h: probabilities from the scores of pairs of classes. */
#ifndef MMQ_MATH_PLATT_H
#define MMQ_MATH_PLATT_H

#include <stddef.h>
#include <stdint.h>

/* P(positive | score) = 1 / (1 + exp(a score + b)), by maximum likelihood with smoothed targets. positive (count): nonzero for the
 * first class of the pair. weight (count), above 0: how often a row counts; NULL: once each. */
void mmq_platt_fit(const double *score, const uint8_t *positive, const float *weight, size_t count, double *a_out, double *b_out);
double mmq_platt_probability(double score, double a, double b);

/* Probabilities (classes) from pairwise[i * classes + j] = P(i | i or j), each in (0, 1). temp (classes * classes + classes). */
void mmq_platt_couple(const double *pairwise, size_t classes, double *temp, double *probability_out);

#endif
