/* modelmq.h: the C client of modelmq, whole: this header and libmodelmq.a are all that a program needs.
 *
 * Build a message, ask the service, read the answer:
 *
 *     struct mmq_client *client = mmq_client_open(NULL);
 *     struct mmq_message *ping = mmq_message_new("ping");
 *     struct mmq_answer *answer = mmq_client_ask(client, &ping, 1000);
 *     if (!mmq_answer_is_ok(answer))
 *             fprintf(stderr, "%s\n", mmq_answer_why(answer));
 *     mmq_answer_destroy(&answer);
 *     mmq_client_close(&client);
 *
 * Nothing here returns NULL where a value is built or an answer is awaited: what goes wrong is kept and told by the answer,
 * so that a short program checks once. A client belongs to one thread at a time; open one per thread. */
#ifndef MODELMQ_H
#define MODELMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmq_client;
struct mmq_message;
struct mmq_answer;

/* ---- Where the service is ------------------------------------------------------------------------------------- */

/* All texts are borrowed during open only. Zero-initialise and set what is needed. */
struct mmq_client_options {
	const char *home;        /* folder of a service on this machine; its file `endpoints` names the sockets */
	const char *request;     /* endpoints, e.g. "tcp://db7:5550"; each overrides the home's; a socket is made when first used */
	const char *publish, *sink;
	const char *server_key;  /* CURVE: the service's public key (40 characters of Z85), or the path of a key file */
	const char *key_file;    /* CURVE: this client's secret key file, as `modelmq keygen` writes it */
	uint32_t connect_ms;     /* give up when no connection came about in this time; 0: 3000 */
	uint32_t retry_ms;       /* ask again for so long when the service is busy or has no worker yet (RESOURCE_EXHAUSTED, UNAVAILABLE); 0: never */
};

/* where: a home folder, a request endpoint (it holds "://"), or NULL for MODELMQ_HOME, else ./modelmq-home.
 * Never NULL. A client that could not be opened answers everything with the reason. */
struct mmq_client *mmq_client_open(const char *where);
struct mmq_client *mmq_client_open_with(const struct mmq_client_options *options);
void mmq_client_close(struct mmq_client **client);              /* *client may be NULL; unanswered requests are dropped */
const char *mmq_client_why(const struct mmq_client *client);    /* why it could not be opened; NULL: it could */
const char *mmq_client_endpoint(const struct mmq_client *client, const char *which); /* "request", "publish", "sink", "work"; NULL: not known */

/* ---- Messages ------------------------------------------------------------------------------------------------- */

/* A request with `v`, `op` and a fresh random `id` (32 hexadecimal digits). destroy takes NULL too; sending takes it. */
struct mmq_message *mmq_message_new(const char *op);
void mmq_message_destroy(struct mmq_message **message);
const char *mmq_message_id(const struct mmq_message *message);
void mmq_message_set_id(struct mmq_message *message, const char *id); /* to ask again for what an earlier run asked */

/* Put a value under key. Inside a list the key is NULL. Everything is copied. Plain values at the top level are moved before
 * lists and maps, as the protocol wants it in large messages; the order of calls does not matter.
 * A misuse (a key in a list, close without open) or more than 64 MiB is told by the answer as INVALID_ARGUMENT. */
void mmq_message_text(struct mmq_message *message, const char *key, const char *text); /* NULL text: nil */
void mmq_message_int(struct mmq_message *message, const char *key, int64_t value);
void mmq_message_number(struct mmq_message *message, const char *key, double value);   /* NaN: nil, which means missing */
void mmq_message_flag(struct mmq_message *message, const char *key, bool value);
void mmq_message_nil(struct mmq_message *message, const char *key);
void mmq_message_bytes(struct mmq_message *message, const char *key, const void *bytes, size_t size);
void mmq_message_raw(struct mmq_message *message, const char *key, const void *msgpack, size_t size); /* one packed value */
void mmq_message_map(struct mmq_message *message, const char *key);   /* open a map: values follow, then close */
void mmq_message_list(struct mmq_message *message, const char *key);  /* open a list */
void mmq_message_close(struct mmq_message *message);                  /* close the innermost open map or list */

/* An opaque second frame, e.g. the text of a CSV file with its header line for `predict`. format: "csv", "jsonl", "tensor", "msgpack", "file". */
void mmq_message_payload(struct mmq_message *message, const char *format, const void *bytes, size_t size);

/* The usual shapes of data. */
void mmq_message_numbers(struct mmq_message *message, const char *key, const double *values, size_t count);
void mmq_message_texts(struct mmq_message *message, const char *key, const char *const *texts, size_t count);
void mmq_message_rows(struct mmq_message *message, const char *key, const double *values, size_t rows, size_t cols);   /* list of lists, row-major */
void mmq_message_tensor(struct mmq_message *message, const char *key, const double *values, size_t rows, size_t cols); /* f64, the fast form */

/* ---- Asking --------------------------------------------------------------------------------------------------- */

/* Send and wait for the answer. Takes *message and leaves NULL. timeout_ms < 0: no limit. Never NULL. When the connection is
 * lost and comes back (the service was restarted), requests without an answer are sent again with the same id, which
 * the service recognises; so a durable request is done once. */
struct mmq_answer *mmq_client_ask(struct mmq_client *client, struct mmq_message **message, int timeout_ms);

/* Ask for a training (op "train") and wait until its job has ended: the answer is the job (`state`, `version`, `result.metrics...`),
 * and is ok only when the job is done. A job goes on when the waiting times out; `job` names it. */
struct mmq_answer *mmq_client_train(struct mmq_client *client, struct mmq_message **message, int timeout_ms);

/* Many in flight: send without waiting, then receive answers in the order they come. send returns 0, or -1 when the message
 * cannot go out (mmq_client_receive then tells). receive: NULL after timeout_ms or when nothing is unanswered. */
int mmq_client_send(struct mmq_client *client, struct mmq_message **message);
struct mmq_answer *mmq_client_receive(struct mmq_client *client, int timeout_ms);
/* The same for many at once: small ones leave in one frame, which costs client and service a fraction of so many frames. Takes all, also those
 * behind one that cannot go out; -1 when there is such a one. */
int mmq_client_send_many(struct mmq_client *client, struct mmq_message **messages, size_t count);
size_t mmq_client_unanswered(const struct mmq_client *client);

/* The publish socket: fire, and read the answer from the sink (set "sink" true). Waits up to timeout_ms for a connection and
 * room in the queue. 0, or -1 with the reason in *why_out (constant text; may be NULL). Takes *message. */
int mmq_client_push(struct mmq_client *client, struct mmq_message **message, int timeout_ms, const char **why_out);

/* The sink: subscribe to a topic prefix, e.g. "result/default/iris/", then take messages. next: NULL after timeout_ms. */
int mmq_client_subscribe(struct mmq_client *client, const char *topic);
struct mmq_answer *mmq_client_next(struct mmq_client *client, int timeout_ms);

/* ---- Answers -------------------------------------------------------------------------------------------------- */

void mmq_answer_destroy(struct mmq_answer **answer);
bool mmq_answer_is_ok(const struct mmq_answer *answer);         /* `ok` is true; a sink message without `ok` is ok */
bool mmq_answer_is_local(const struct mmq_answer *answer);      /* made here, not by the service: not reachable, timed out, bad message */
const char *mmq_answer_why(const struct mmq_answer *answer);    /* "CODE: sentence (field ...)"; "" when ok */
const char *mmq_answer_code(const struct mmq_answer *answer);   /* "OK", "INVALID_ARGUMENT", ... */
const char *mmq_answer_id(const struct mmq_answer *answer);     /* "" when the answer carries none */
const char *mmq_answer_topic(const struct mmq_answer *answer);  /* sink messages; "" otherwise */

/* Values by path: map keys and list indices joined by dots, "outputs.prediction.0"; "" is the whole answer.
 * Texts live until the answer is destroyed. What is absent or of another type gives NULL, the default, 0. */
const char *mmq_answer_text(const struct mmq_answer *answer, const char *path);
double mmq_answer_number(const struct mmq_answer *answer, const char *path, double otherwise);
int64_t mmq_answer_int(const struct mmq_answer *answer, const char *path, int64_t otherwise);
bool mmq_answer_flag(const struct mmq_answer *answer, const char *path, bool otherwise);
bool mmq_answer_has(const struct mmq_answer *answer, const char *path);
size_t mmq_answer_count(const struct mmq_answer *answer, const char *path);   /* elements of a list, pairs of a map */
/* Numbers of a list, or of a list of lists row by row, into values_out (max); nil becomes NaN. Returns how many there are. */
size_t mmq_answer_numbers(const struct mmq_answer *answer, const char *path, double *values_out, size_t max);
/* The bytes of a binary value. NULL: absent, or no binary. */
const uint8_t *mmq_answer_bytes(const struct mmq_answer *answer, const char *path, size_t *size_out);
/* The packed bytes of a value, for a msgpack library. NULL: absent. */
const uint8_t *mmq_answer_raw(const struct mmq_answer *answer, const char *path, size_t *size_out);

#endif
