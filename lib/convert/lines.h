/* lines.h: text models that are lines, as those of LIBSVM, LIBLINEAR and LightGBM: one after the other, words and numbers within it. Every refusal
 * names the library and the line. */
#ifndef MMQ_CONVERT_LINES_H
#define MMQ_CONVERT_LINES_H

#include "convert/convert.h"

struct mmq_lines {
	const char *library;         /* constant text for messages */
	char *text, *at, *end;       /* a copy of the bytes, NUL at end */
	unsigned line;
	char *rest;                  /* what is left of the line */
	struct mmq_err *err;
};

/* -1: too large, or a zero byte in it. fini in any case. */
int mmq_lines_init(struct mmq_lines *lines, const char *library, const uint8_t *bytes, size_t size, struct mmq_err *err);
void mmq_lines_fini(struct mmq_lines *lines);
bool mmq_lines_next(struct mmq_lines *lines);              /* go to the next line; false: there is none */
char *mmq_lines_word(struct mmq_lines *lines);             /* the next word of the line; NULL: none */
bool mmq_lines_is_over(const struct mmq_lines *lines);     /* nothing but spaces is left of the line */
size_t mmq_lines_bytes_left(const struct mmq_lines *lines);   /* after this line */
/* DATA_LOSS: damaged; FAILED_PRECONDITION: not taken. Always -1. */
int mmq_lines_damaged(const struct mmq_lines *lines, const char *what);
int mmq_lines_refuse(const struct mmq_lines *lines, const char *what);
/* The next word as a whole number in [min, max], or as a finite number; -1: damaged. */
int mmq_lines_integer(struct mmq_lines *lines, int64_t min, int64_t max, int64_t *out);
int mmq_lines_number(struct mmq_lines *lines, double *out);
/* Exactly count numbers, up to the end of the line; *out is the caller's, also after -1. */
int mmq_lines_numbers(struct mmq_lines *lines, size_t count, double **out);
/* Exactly count labels as integer classes. */
int mmq_lines_labels(struct mmq_lines *lines, size_t count, struct mmq_classes *out);

/* For writers. The label of class k as a whole number that fits an int; -1 and FAILED_PRECONDITION when it is none. */
int mmq_lines_label(const char *library, const struct mmq_classes *classes, size_t k, long *out, struct mmq_err *err);

#endif
