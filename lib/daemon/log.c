/* log.c: the line is built in one buffer and written with one write(), so that lines of several threads never mix. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"

static const char *const levels[] = { "error", "warn", "info", "debug" };
static char name[32] = "modelmq";
static enum mmq_level level_max = MMQ_LOG_INFO;

void
mmq_log_init(const char *program, enum mmq_level max)
{
	snprintf(name, sizeof name, "%s", program);
	level_max = max;
}

int
mmq_level_from_name(const char *text)
{
	for (int i = 0; i < (int)(sizeof levels / sizeof *levels); i++)
		if (text != NULL && strcmp(text, levels[i]) == 0)
			return i;
	return -1;
}

void
mmq_log(enum mmq_level level, const char *event, const char *format, ...)
{
	char line[2048], when[40];
	va_list args;
	int head, body;
	size_t size;

	if (level > level_max)
		return;
	head = snprintf(line, sizeof line, "%s %s %s event=%s ", mmq_clock_format(mmq_clock_wall_ms(), when), levels[level], name, event);
	va_start(args, format);
	body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
	va_end(args);
	size = (size_t)head + (body < 0 ? 0 : (size_t)body);
	if (size > sizeof line - 2)
		size = sizeof line - 2;
	for (size_t i = (size_t)head; i < size; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	while (size > 0 && line[size - 1] == ' ')
		size--;
	line[size++] = '\n';
	if (write(STDERR_FILENO, line, size) == -1)
		return;  /* nobody listens; there is no better place to say so */
}
