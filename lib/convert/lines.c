/* lines.c: lines of words. */
#include "convert/lines.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

int
mmq_lines_init(struct mmq_lines *lines, const char *library, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	*lines = (struct mmq_lines){ .library = library, .err = err };
	if (size > MMQ_CONVERT_BYTES_MAX)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s model: %zu bytes, at most %d are read", library, size, MMQ_CONVERT_BYTES_MAX);
	if (memchr(bytes, 0, size) != NULL)
		return mmq_err_set(err, MMQ_DATA_LOSS, "%s model: it holds a zero byte, so it is no text", library);
	lines->text = mmq_strndup((const char *)bytes, size);
	lines->at = lines->text;
	lines->end = lines->text + size;
	lines->rest = lines->end;
	return 0;
}

void
mmq_lines_fini(struct mmq_lines *lines)
{
	free(lines->text);
	lines->text = NULL;
}

bool
mmq_lines_next(struct mmq_lines *lines)
{
	if (lines->at >= lines->end)
		return false;
	char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
	lines->rest = lines->at;
	lines->at = newline != NULL ? newline + 1 : lines->end;
	if (newline != NULL)
		*newline = '\0';
	lines->line++;
	return true;
}

char *
mmq_lines_word(struct mmq_lines *lines)
{
	char *word = lines->rest + strspn(lines->rest, " \t\r");
	if (*word == '\0')
		return NULL;
	lines->rest = word + strcspn(word, " \t\r");
	if (*lines->rest != '\0')
		*lines->rest++ = '\0';
	return word;
}

bool
mmq_lines_is_over(const struct mmq_lines *lines)
{
	return lines->rest[strspn(lines->rest, " \t\r")] == '\0';
}

size_t
mmq_lines_bytes_left(const struct mmq_lines *lines)
{
	return (size_t)(lines->end - lines->at);
}

int
mmq_lines_damaged(const struct mmq_lines *lines, const char *what)
{
	return mmq_err_set(lines->err, MMQ_DATA_LOSS, "%s model, line %u: %s", lines->library, lines->line, what);
}

int
mmq_lines_refuse(const struct mmq_lines *lines, const char *what)
{
	return mmq_err_set(lines->err, MMQ_FAILED_PRECONDITION, "%s model, line %u: %s", lines->library, lines->line, what);
}

int
mmq_lines_integer(struct mmq_lines *lines, int64_t min, int64_t max, int64_t *out)
{
	char *word = mmq_lines_word(lines), *end;
	errno = 0;
	long long value = word == NULL ? 0 : strtoll(word, &end, 10);
	if (word == NULL || end == word || *end != '\0' || errno != 0 || value < min || value > max)
		return mmq_lines_damaged(lines, "a whole number is missing, or out of range");
	*out = value;
	return 0;
}

int
mmq_lines_number(struct mmq_lines *lines, double *out)
{
	char *word = mmq_lines_word(lines), *end;
	*out = word == NULL ? 0.0 : strtod(word, &end);
	if (word == NULL || end == word || *end != '\0' || !isfinite(*out))
		return mmq_lines_damaged(lines, "a number is missing, or not finite");
	return 0;
}

int
mmq_lines_numbers(struct mmq_lines *lines, size_t count, double **out)
{
	*out = NULL;
	/* Every number takes a character and a separator: no more memory than the line has bytes. */
	if (count > strlen(lines->rest) / 2 + 1)
		return mmq_lines_damaged(lines, "fewer numbers than announced");
	*out = mmq_array(count + 1, sizeof(**out));
	for (size_t k = 0; k < count; k++)
		if (mmq_lines_number(lines, &(*out)[k]) == -1)
			return -1;
	return mmq_lines_is_over(lines) ? 0 : mmq_lines_damaged(lines, "more numbers than announced");
}

int
mmq_lines_labels(struct mmq_lines *lines, size_t count, struct mmq_classes *out)
{
	if (count > strlen(lines->rest) / 2 + 1)
		return mmq_lines_damaged(lines, "fewer labels than classes");
	mmq_classes_fini(out);
	*out = (struct mmq_classes){ .type = MMQ_LABEL_INT, .count = count, .ints = mmq_array(count, sizeof(*out->ints)) };
	for (size_t k = 0; k < count; k++) {
		if (mmq_lines_integer(lines, INT_MIN, INT_MAX, &out->ints[k]) == -1)
			return -1;
		for (size_t other = 0; other < k; other++)
			if (out->ints[other] == out->ints[k])
				return mmq_lines_damaged(lines, "two classes have one label");
	}
	return mmq_lines_is_over(lines) ? 0 : mmq_lines_damaged(lines, "more labels than classes");
}

int
mmq_lines_label(const char *library, const struct mmq_classes *classes, size_t k, long *out, struct mmq_err *err)
{
	char number[32], *end;
	const char *text = mmq_classes_text(classes, k, number);
	if (classes->type == MMQ_LABEL_TEXT) {
		errno = 0;
		*out = strtol(text, &end, 10);
		if (end == text || *end != '\0' || errno != 0)
			return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "%s: labels are whole numbers there; this model has '%s'", library, text);
	} else {
		*out = (long)classes->ints[k];
	}
	if (*out < INT_MIN || *out > INT_MAX)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "%s: labels fit 32 bits there; this model has %ld", library, *out);
	return 0;
}
