/* options.c: one table row per option; text from any source becomes a checked value in the daemon's struct.
 * A later source wins (default < file < environment < flag), in whatever order they are read. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "util/mem.h"

static const struct mmq_option *
row_find(const struct mmq_options *options, const char *name)
{
	for (const struct mmq_option *row = options->rows; row->name != NULL; row++)
		if (strcmp(row->name, name) == 0)
			return row;
	return NULL;
}

static void *
place(const struct mmq_options *options, const struct mmq_option *row)
{
	return (char *)(row->flags & MMQ_OPTION_COMMON ? options->common : options->self) + row->offset;
}

static int
number_read(const struct mmq_option *row, const char *text, int64_t *value_out, struct mmq_err *err)
{
	char want[96], *end;
	int64_t value, unit = 1;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end != text && row->type == MMQ_OPTION_BYTES && *end != 0 && strchr("kKmMgG", *end) != NULL) {
		int letter = tolower((unsigned char)*end++);
		unit = letter == 'k' ? 1 << 10 : letter == 'm' ? 1 << 20 : 1 << 30;
	}
	if (end == text || *end != 0 || errno != 0 || value > INT64_MAX / unit || value * unit < row->min || value * unit > row->max) {
		snprintf(want, sizeof want, "a number from %lld to %lld", (long long)row->min, (long long)row->max);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, row->name, want, "'%s'", text);
	}
	*value_out = value * unit;
	return 0;
}

static int
flag_read(const struct mmq_option *row, const char *text, bool *value_out, struct mmq_err *err)
{
	static const char *const yes[] = { "yes", "true", "1", "on" }, *const no[] = { "no", "false", "0", "off" };

	for (int i = 0; i < 4; i++)
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*value_out = strcmp(text, yes[i]) == 0;
			return 0;
		}
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, row->name, "yes or no", "'%s'", text);
}

int
mmq_options_set(struct mmq_options *options, const char *name, const char *text, enum mmq_option_source source, struct mmq_err *err)
{
	const struct mmq_option *row = row_find(options, name);
	size_t index;
	char **texts;

	if (row == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "a known option (see --help)", "an unknown one");
	index = (size_t)(row - options->rows);
	if (source < options->source[index] || (options->reloading && !(row->flags & MMQ_OPTION_RELOAD)))
		return 0;
	options->source[index] = (unsigned char)source;
	switch (row->type) {
	case MMQ_OPTION_TEXT:
		texts = place(options, row);
		free(*texts);
		*texts = *text == 0 ? NULL : mmq_strdup(text);
		return 0;
	case MMQ_OPTION_FLAG:
		return flag_read(row, text, place(options, row), err);
	default:
		return number_read(row, text, place(options, row), err);
	}
}

int
mmq_options_init(struct mmq_options *options, const struct mmq_option *rows, void *self, void *common, struct mmq_err *err)
{
	*options = (struct mmq_options){ .rows = rows, .self = self, .common = common };
	for (const struct mmq_option *row = rows; row->name != NULL; row++)
		if (row->initial != NULL && mmq_options_set(options, row->name, row->initial, MMQ_FROM_DEFAULT, err) == -1)
			return -1;
	return 0;
}

void
mmq_options_fini(struct mmq_options *options)
{
	for (const struct mmq_option *row = options->rows; row != NULL && row->name != NULL; row++)
		if (row->type == MMQ_OPTION_TEXT) {
			char **texts = place(options, row);
			free(*texts);
			*texts = NULL;
		}
}

static char *
trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = 0;
	return text;
}

int
mmq_options_read(struct mmq_options *options, const char *path, struct mmq_err *err)
{
	FILE *file = fopen(path, "r");
	char line[4096];
	int number = 0, result = 0;

	if (file == NULL)
		return mmq_err_set(err, MMQ_NOT_FOUND, "config: cannot read '%s': %s", path, strerror(errno));
	while (result == 0 && fgets(line, sizeof line, file) != NULL) {
		char *text = trim(line), *equals = strchr(text, '=');

		number++;
		if (*text == 0 || *text == '#')
			continue;
		if (equals == NULL) {
			result = mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s:%d: want `name = value`", path, number);
			break;
		}
		*equals = 0;
		result = mmq_options_set(options, trim(text), trim(equals + 1), MMQ_FROM_FILE, err);
		if (result == -1)
			mmq_err_prefix(err, "%s:%d", path, number);
	}
	fclose(file);
	return result;
}

int
mmq_options_environment(struct mmq_options *options, struct mmq_err *err)
{
	for (const struct mmq_option *row = options->rows; row->name != NULL; row++) {
		char variable[64] = "MMQ_";
		const char *text;
		size_t i;

		for (i = 0; row->name[i] != 0 && i < sizeof variable - 5; i++)
			variable[4 + i] = row->name[i] == '-' ? '_' : (char)toupper((unsigned char)row->name[i]);
		text = getenv(variable);
		if (text != NULL && mmq_options_set(options, row->name, text, MMQ_FROM_ENVIRONMENT, err) == -1)
			return mmq_err_prefix(err, "%s", variable);
	}
	return 0;
}

int
mmq_options_flags(struct mmq_options *options, int argc, char **argv, struct mmq_err *err)
{
	for (int i = 1; i < argc; i++) {
		const char *equals = strchr(argv[i], '='), *value = equals == NULL ? NULL : equals + 1;
		const struct mmq_option *row;
		char name[64];

		if (strncmp(argv[i], "--", 2) != 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, argv[i], "an option that begins with --", "this");
		snprintf(name, sizeof name, "%.*s", equals == NULL ? 60 : (int)(equals - argv[i] - 2), argv[i] + 2);
		row = row_find(options, name);
		if (row != NULL && value == NULL)
			value = row->type == MMQ_OPTION_FLAG ? "yes" : i + 1 < argc ? argv[++i] : NULL;
		if (row != NULL && value == NULL)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, name, "a value", "nothing");
		if (mmq_options_set(options, name, value == NULL ? "" : value, MMQ_FROM_FLAG, err) == -1)
			return -1;
	}
	return 0;
}

void
mmq_options_help(const struct mmq_option *rows)
{
	for (const struct mmq_option *row = rows; row->name != NULL; row++) {
		char flag[64];

		snprintf(flag, sizeof flag, "--%s%s", row->name, row->type == MMQ_OPTION_FLAG ? "" : row->type == MMQ_OPTION_TEXT ? " TEXT" : " N");
		printf("  %-28s %s", flag, row->doc);
		if (row->initial != NULL && row->type != MMQ_OPTION_FLAG)
			printf(" (default %s)", row->initial);
		printf("%s\n", row->flags & MMQ_OPTION_RELOAD ? " [read again on HUP]" : "");
	}
}
