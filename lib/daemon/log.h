/* log.h: one line per event on stderr: time, level, program, event, then key=value pairs written by the caller.
 * Values from outside go through mmq_log's format too: control characters in them become '?', so no value can forge a line. */
#ifndef MMQ_DAEMON_LOG_H
#define MMQ_DAEMON_LOG_H

enum mmq_level { MMQ_LOG_ERROR, MMQ_LOG_WARN, MMQ_LOG_INFO, MMQ_LOG_DEBUG };

void mmq_log_init(const char *program, enum mmq_level level_max);
int mmq_level_from_name(const char *name);  /* -1: unknown */

/* mmq_log(MMQ_LOG_INFO, "ready", "endpoint=%s workers=%u", ...). format may be "". Any thread. */
void mmq_log(enum mmq_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
