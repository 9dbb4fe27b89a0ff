/* internal.h: what the client's files share and a user does not see. */
#ifndef MMQ_CLIENT_INTERNAL_H
#define MMQ_CLIENT_INTERNAL_H

#include "client/modelmq.h"
#include "util/buf.h"
#include "util/err.h"

enum { MMQ_CLIENT_ID_SIZE = 33 };

/* message.c: the finished frames of a message; both are the caller's to fini, payload is empty when there is none.
 * -1 when the message was built wrongly; nothing is to fini then. */
int mmq_message_finish(struct mmq_message *message, struct mmq_buf *frame_out, struct mmq_buf *payload_out, struct mmq_err *err);
void mmq_client_random_id(char id_out[MMQ_CLIENT_ID_SIZE]);

/* answer.c: an answer from bytes (copied), with its topic when it came from the sink; or one made here. Never NULL. */
struct mmq_answer *mmq_answer_from_bytes(const void *bytes, size_t size, const char *topic, size_t topic_size);
void mmq_answer_set_id(struct mmq_answer *answer, const char *id);
void mmq_answer_need_done_job(struct mmq_answer *answer); /* a job that did not end well becomes an error answer */
struct mmq_answer *mmq_answer_from_err(const char *id, const struct mmq_err *err);

/* home.c: the endpoint called which ("request", ...) in HOME/endpoints; a fresh string. NULL with err: no such file or line. */

/* keys.c: one key of a CURVE key file, or the text itself when it is 40 characters of Z85. 0, or -1 with err. */
int mmq_keys_read(const char *file_or_key, const char *which, char key_out[41], struct mmq_err *err);

#endif
