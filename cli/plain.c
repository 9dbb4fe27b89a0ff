/* plain.c: a packed value in words, for people: texts as they are, lists with commas, maps as key=value. For programs there is --json. */
#include <string.h>

#include "cli/cli.h"
#include "mpack/reader.h"

enum { LINE_MAX_COLUMNS = 110 };

static void
put_scalar(struct mmq_buf *out, const struct mmq_token *token)
{
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
		mmq_buf_printf(out, "%.6g", token->f);
		break;
	case MMQ_T_STR:
		mmq_buf_append(out, token->bytes, token->size);
		break;
	default:
		mmq_buf_printf(out, "-");
	}
}

struct level {
	uint32_t left;               /* tokens, a map's keys counted */
	bool is_map, holds_maps, is_first;
};

/* What stands before the next token of this level; is_key: it is a key. */
static void
put_gap(struct mmq_buf *out, struct level *level, bool is_key)
{
	if (level->is_map && !is_key)
		mmq_buf_append(out, "=", 1);
	else if (!level->is_first)
		mmq_buf_printf(out, level->is_map ? " " : level->holds_maps ? "; " : ", ");
	level->is_first = false;
}

void
cli_plain(struct mmq_buf *out, const void *msgpack, size_t size)
{
	struct level levels[MMQ_WIRE_DEPTH_MAX + 1];
	struct mmq_reader reader;
	struct mmq_token token;
	size_t depth = 0;

	mmq_reader_init(&reader, msgpack, size);
	do {
		struct level *level = depth > 0 ? &levels[depth - 1] : NULL;
		bool is_key = level != NULL && level->is_map && level->left % 2 == 0;
		if (!mmq_read(&reader, &token))
			return;
		if (level != NULL) {
			put_gap(out, level, is_key);
			level->left--;
		}
		if (token.type != MMQ_T_ARRAY && token.type != MMQ_T_MAP) {
			put_scalar(out, &token);
		} else if (token.size == 0 || depth == MMQ_WIRE_DEPTH_MAX + 1) {
			mmq_buf_printf(out, "none");
		} else {
			/* Inside a map, brackets tell where the inner value ends. */
			mmq_buf_printf(out, level != NULL && level->is_map ? "(" : "");
			levels[depth++] = (struct level){ token.type == MMQ_T_MAP ? token.size * 2 : token.size, token.type == MMQ_T_MAP,
				mmq_read_peek(&reader) == MMQ_T_MAP, true };
		}
		for (; depth > 0 && levels[depth - 1].left == 0; depth--)
			mmq_buf_printf(out, depth > 1 && levels[depth - 2].is_map ? ")" : "");
	} while (depth > 0);
}

/* A title, then the text in lines that go on below its beginning. */
void
cli_print_plain(const char *title, int width, const struct mmq_answer *answer, const char *path)
{
	struct mmq_buf text;
	size_t size, room = (size_t)(LINE_MAX_COLUMNS - width);
	const uint8_t *raw = mmq_answer_raw(answer, path, &size);

	if (raw == NULL)
		return;
	mmq_buf_init(&text, 1 << 24);
	cli_plain(&text, raw, size);
	const char *at = mmq_buf_text(&text);
	do {
		size_t length = strlen(at), cut = length;
		if (length > room) {
			for (cut = room; cut > 0 && at[cut] != ' '; cut--)
				continue;
			cut = cut > 0 ? cut : strcspn(at, " ");
		}
		printf("%-*s%.*s\n", width, title, (int)cut, at);
		title = "";
		at += cut + (at[cut] == ' ');
	} while (*at != '\0');
	mmq_buf_fini(&text);
}
