/* output.c: tables for people, JSON for programs. JSON is written straight from the packed bytes, with a small stack
 * instead of recursion; the bytes were checked when the answer came, so nesting is bounded. */
#include "cli/cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mpack/reader.h"
#include "util/mem.h"

static void
put_text(struct mmq_buf *out, const char *text, size_t size)
{
	mmq_buf_append(out, "\"", 1);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\')
			mmq_buf_printf(out, "\\%c", c);
		else if (c == '\n')
			mmq_buf_append(out, "\\n", 2);
		else if (c < 0x20 || c == 0x7f)
			mmq_buf_printf(out, "\\u%04x", c);
		else
			mmq_buf_append(out, &text[i], 1);
	}
	mmq_buf_append(out, "\"", 1);
}

void
cli_json_text(struct mmq_buf *out, const char *text)
{
	put_text(out, text, strlen(text));
}

/* The shortest decimal that reads back as the same double. */
static void
put_double(struct mmq_buf *out, double value)
{
	char text[32];

	if (!isfinite(value)) {
		mmq_buf_append(out, "null", 4);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	mmq_buf_printf(out, "%s%s", text, strpbrk(text, ".en") == NULL ? ".0" : "");
}

static void
put_scalar(struct mmq_buf *out, const struct mmq_token *token, bool is_key)
{
	char quote = is_key && token->type != MMQ_T_STR && token->type != MMQ_T_BIN ? '"' : '\0';

	if (quote != '\0')
		mmq_buf_append(out, "\"", 1);
	switch (token->type) {
	case MMQ_T_BOOL:
		mmq_buf_printf(out, "%s", token->boolean ? "true" : "false");
		break;
	case MMQ_T_INT:
		mmq_buf_printf(out, "%lld", (long long)token->i);
		break;
	case MMQ_T_UINT:
		mmq_buf_printf(out, "%llu", (unsigned long long)token->u);
		break;
	case MMQ_T_FLOAT:
		put_double(out, token->f);
		break;
	case MMQ_T_STR:
		put_text(out, token->bytes, token->size);
		break;
	case MMQ_T_BIN:
		mmq_buf_append(out, "\"", 1);
		for (uint32_t i = 0; i < token->size; i++)
			mmq_buf_printf(out, "%02x", (unsigned char)token->bytes[i]);
		mmq_buf_append(out, "\"", 1);
		break;
	default:
		mmq_buf_append(out, "null", 4);
	}
	if (quote != '\0')
		mmq_buf_append(out, "\"", 1);
}

static void
new_line(struct mmq_buf *out, bool indent, size_t depth)
{
	if (indent)
		mmq_buf_printf(out, "\n%*s", (int)depth * 2, "");
}

void
cli_json(struct mmq_buf *out, const void *msgpack, size_t size, bool indent)
{
	struct level { uint32_t left; bool is_map, is_inline; } levels[MMQ_WIRE_DEPTH_MAX + 1];
	size_t depth = 0;
	struct mmq_reader reader;
	struct mmq_token token;

	mmq_reader_init(&reader, msgpack, size);
	bool is_key = false, is_first = true;
	do {
		struct level *level = depth > 0 ? &levels[depth - 1] : NULL;
		if (!mmq_read(&reader, &token))
			return;
		if (level != NULL && (is_key || !level->is_map)) {
			if (!is_first)
				mmq_buf_append(out, indent && level->is_inline ? ", " : ",", indent && level->is_inline ? 2 : 1);
			if (!level->is_inline)
				new_line(out, indent, depth);
		}
		is_first = false;
		if (token.type == MMQ_T_ARRAY || token.type == MMQ_T_MAP) {
			bool is_map = token.type == MMQ_T_MAP;
			enum mmq_type next = mmq_read_peek(&reader);
			mmq_buf_append(out, is_map ? "{" : "[", 1);
			if (token.size == 0 || depth == MMQ_WIRE_DEPTH_MAX + 1)
				mmq_buf_append(out, is_map ? "}" : "]", 1);
			else   /* lists of plain values stay on one line */
				levels[depth++] = (struct level){ .left = token.size, .is_map = is_map,
					.is_inline = !is_map && next != MMQ_T_ARRAY && next != MMQ_T_MAP };
			is_first = token.size > 0;
		} else {
			put_scalar(out, &token, is_key);
		}
		if (is_key) {
			mmq_buf_append(out, indent ? ": " : ":", indent ? 2 : 1);
			is_key = false;
			continue;
		}
		/* A value is complete (or a container has just been opened): close what is full, say what comes next. */
		if (!is_first)
			while (depth > 0 && --levels[depth - 1].left == 0) {
				depth--;
				if (!levels[depth].is_inline)
					new_line(out, indent, depth);
				mmq_buf_append(out, levels[depth].is_map ? "}" : "]", 1);
			}
		is_key = depth > 0 && levels[depth - 1].is_map;
	} while (depth > 0);
}

int
cli_print_json(const struct mmq_answer *answer, const char *path)
{
	struct mmq_buf out;
	size_t size;
	const uint8_t *bytes = mmq_answer_raw(answer, path, &size);

	mmq_buf_init(&out, 1u << 30);
	if (bytes != NULL)
		cli_json(&out, bytes, size, isatty(STDOUT_FILENO) == 1);
	puts(mmq_buf_text(&out));
	mmq_buf_fini(&out);
	return CLI_OK;
}

const char *
cli_time(int64_t wall_ms, char text_out[32])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;

	snprintf(text_out, 32, "-");
	if (wall_ms != 0 && localtime_r(&seconds, &parts) != NULL)
		strftime(text_out, 32, "%Y-%m-%d %H:%M:%S", &parts);
	return text_out;
}

const char *
cli_colour(const struct cli *cli, const char *code)
{
	return cli->is_terminal && getenv("NO_COLOR") == NULL ? code : "";
}

void
cli_table_init(struct cli_table *table, const char *const *titles, size_t cols)
{
	*table = (struct cli_table){ .titles = titles, .cols = cols };
}

void
cli_table_add(struct cli_table *table, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (table->count == table->capacity) {
		table->capacity = table->capacity * 2 + 64;
		table->cells = mmq_grow(table->cells, table->capacity, sizeof(char *));
	}
	table->cells[table->count++] = mmq_strdup(*text != '\0' ? text : "-");
}

/* Columns on a terminal: bytes that continue a UTF-8 character take none. */
static size_t
width_of(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void
cli_table_print(struct cli_table *table, const struct cli *cli)
{
	size_t rows = table->count / table->cols, *widths = mmq_array(table->cols, sizeof(size_t));
	bool *is_number = mmq_array(table->cols, sizeof(bool));

	for (size_t col = 0; col < table->cols; col++) {
		widths[col] = width_of(table->titles[col]);
		is_number[col] = rows > 0;
		for (size_t row = 0; row < rows; row++) {
			const char *cell = table->cells[row * table->cols + col];
			widths[col] = width_of(cell) > widths[col] ? width_of(cell) : widths[col];
			is_number[col] = is_number[col] && cell[strspn(cell, "-+0123456789.e")] == '\0';
		}
	}
	for (size_t row = 0; row <= rows; row++) {
		fputs(row == 0 ? cli_colour(cli, "\033[1m") : "", stdout);
		for (size_t col = 0; col < table->cols; col++) {
			const char *cell = row == 0 ? table->titles[col] : table->cells[(row - 1) * table->cols + col];
			int pad = (int)(widths[col] - width_of(cell));
			bool is_last = col + 1 == table->cols;
			printf("%*s%s%*s%s", is_number[col] ? pad : 0, "", cell, is_number[col] || is_last ? 0 : pad, "", is_last ? "" : "  ");
		}
		puts(row == 0 ? cli_colour(cli, "\033[0m") : "");
	}
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(widths);
	free(is_number);
}
