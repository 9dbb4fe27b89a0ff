/* bench_journal.c: durable jobs of 1 KiB per second, 1, 64 and 1024 in flight: trainings sent to a broker, each answered after its commit
 * (`broker`); the journal alone (`journal`, SQLite in WAL mode with synchronous=FULL); the limit of the disk, the same bytes appended to a bare
 * file with one fdatasync for all in flight (`file`); and Redis, if redis-server is installed: XADD with appendfsync always, pipelined
 * (`redis`). All are interleaved, and the medians of some rounds are printed.
 *     bench_journal [folder] [path of modelmq-broker] */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <sqlite3.h>

#include "bench/load.h"
#include "bench/sides.h"
#include "broker/journal.h"
#include "mpack/writer.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/peek.h"
#include "work/work.h"

enum { BROKER, JOURNAL, BARE_FILE, REDIS, SIDES, ROUNDS = 5, JOB_BYTES = 1024, ROUND_US = 400000, EVENTS = 64 };

static double
file_rate(const char *folder, size_t batch)
{
	char path[160], bytes[JOB_BYTES];
	int64_t began = mmq_clock_mono_us(), now = began;
	size_t jobs = 0;

	memset(bytes, 'x', sizeof(bytes));
	snprintf(path, sizeof(path), "%s/bare", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (; now - began < ROUND_US; now = mmq_clock_mono_us(), jobs += batch) {
		for (size_t i = 0; i < batch; i++)
			if (write(fd, bytes, sizeof(bytes)) != sizeof(bytes))
				abort();
		if (fdatasync(fd) == -1)
			abort();
	}
	close(fd);
	return (double)jobs * 1e6 / (double)(now - began);
}

static double
journal_rate(const struct mmq_journal_ops *ops, struct mmq_journal *journal, size_t batch, uint64_t *number)
{
	struct mmq_journal_command *commands = mmq_array(batch, sizeof(*commands));
	struct mmq_journal_event events[EVENTS];
	char bytes[JOB_BYTES];
	struct mmq_body body = { .bytes = (const uint8_t *)bytes, .size = sizeof(bytes) };
	int64_t began = mmq_clock_mono_us(), now = began;
	size_t jobs = 0;

	memset(bytes, 'x', sizeof(bytes));
	for (; now - began < ROUND_US; now = mmq_clock_mono_us(), jobs += batch) {
		for (size_t i = 0; i < batch; i++) {
			struct mmq_journal_row *row = &commands[i].row;
			commands[i].verb = MMQ_PUT;
			commands[i].body = &body;
			snprintf(row->tenant, sizeof(row->tenant), "default");
			snprintf(row->model, sizeof(row->model), "m%llu", (unsigned long long)(*number % 8));
			row->id_size = (uint8_t)snprintf((char *)row->id, sizeof(row->id), "%032llx", (unsigned long long)(++*number * 0x9e3779b97f4a7c15u));
			row->op = MMQ_OP_TRAIN;
			row->kind = MMQ_WORK_TRAIN;
			for (unsigned byte = 0; byte < 8; byte++)   /* rising, as the broker makes them */
				row->job[byte] = (uint8_t)(*number >> (56 - 8 * byte));
			row->created_ms = 1;
		}
		ops->submit(journal, commands, batch);
		for (size_t have = 0; have < batch;) {
			struct pollfd fd = { .fd = ops->fd(journal), .events = POLLIN };
			poll(&fd, 1, -1);
			size_t count = ops->poll(journal, events, EVENTS);
			for (size_t i = 0; i < count; i++)
				if (events[i].status != MMQ_JOURNAL_OK)
					abort();
			have += count;
		}
	}
	free(commands);
	return (double)jobs * 1e6 / (double)(now - began);
}

/* ---- Redis ------------------------------------------------------------------------------------------------------- */

struct redis { pid_t pid; int fd; char command[JOB_BYTES + 128]; size_t command_bytes; };

static int
redis_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	memcpy(address.sun_path, path, strnlen(path, sizeof(address.sun_path) - 1));
	for (int tries = 0; tries < 500; tries++) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		close(fd);
		usleep(10000);
	}
	return -1;
}

/* fd -1 afterwards: there is none on this machine. */
static void
redis_start(struct redis *redis, const char *folder)
{
	char path[160], job[JOB_BYTES + 1];

	redis->fd = -1;
	if (system("command -v redis-server >/dev/null 2>&1") != 0)
		return;
	snprintf(path, sizeof(path), "%s/redis.sock", folder);
	redis->pid = bench_fork();
	if (redis->pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--dir", folder, "--appendonly", "yes", "--appendfsync", "always",
		    "--save", "", (char *)NULL);
		_exit(127);
	}
	redis->fd = redis_connect(path);
	memset(job, 'x', JOB_BYTES);
	job[JOB_BYTES] = '\0';
	redis->command_bytes = (size_t)snprintf(redis->command, sizeof(redis->command), "*5\r\n$4\r\nXADD\r\n$4\r\njobs\r\n$1\r\n*\r\n$1\r\nb\r\n$%d\r\n%s\r\n",
	    JOB_BYTES, job);
}

static double
redis_rate(const struct redis *redis, size_t batch)
{
	int64_t began = mmq_clock_mono_us(), now = began;
	char *commands, answer[65536];
	size_t jobs = 0;

	if (redis->fd == -1)
		return 0;
	commands = mmq_array(batch, redis->command_bytes);
	for (size_t i = 0; i < batch; i++)
		memcpy(commands + i * redis->command_bytes, redis->command, redis->command_bytes);
	for (; now - began < ROUND_US; now = mmq_clock_mono_us(), jobs += batch) {
		for (size_t sent = 0; sent < batch * redis->command_bytes;) {
			ssize_t count = write(redis->fd, commands + sent, batch * redis->command_bytes - sent);
			if (count <= 0)
				abort();
			sent += (size_t)count;
		}
		/* Each answer is "$15\r\n<id>\r\n": two lines. */
		for (size_t lines = 0; lines < 2 * batch;) {
			ssize_t count = read(redis->fd, answer, sizeof(answer));
			if (count <= 0 || answer[0] == '-')
				abort();
			for (ssize_t i = 0; i < count; i++)
				lines += answer[i] == '\n';
		}
	}
	free(commands);
	return (double)jobs * 1e6 / (double)(now - began);
}

/* ---- The whole broker ---------------------------------------------------------------------------------------------- */

struct enqueue { pid_t broker; void *context; struct load load; struct load_request request; };

static bool
is_accepted(const struct load_request *request, const uint8_t *answer, size_t size)
{
	(void)request;
	return memmem(answer, size, "\xa2ok\xc3", 4) != NULL;
}

/* Trainings of 1 KiB; no trainer is there, so that they wait in the journal. */
static void
enqueue_start(struct enqueue *enqueue, const char *folder, const char *program)
{
	static const char row[] = "0123456789";
	char home[160], front[160];
	const char *argv[] = { program, "--home", home, "--request", front, "--log-level", "error", "--durable-max", "100000000", "--ready-fd", NULL, NULL };
	struct mmq_buf buf;

	snprintf(home, sizeof(home), "%s/home", folder);
	snprintf(front, sizeof(front), "ipc://%s/front", folder);
	enqueue->broker = bench_daemon_start(program, argv, sizeof(argv) / sizeof(*argv) - 1);
	enqueue->context = zmq_ctx_new();
	mmq_buf_init(&buf, 4096);
	mmq_put_map(&buf, 6);
	mmq_put_str(&buf, "v");
	mmq_put_int(&buf, 1);
	mmq_put_str(&buf, "id");
	mmq_put_str(&buf, "00000000");
	mmq_put_str(&buf, "op");
	mmq_put_str(&buf, "train");
	mmq_put_str(&buf, "model");
	mmq_put_str(&buf, "m");
	mmq_put_str(&buf, "target");
	mmq_put_str(&buf, "y");
	mmq_put_str(&buf, "data");
	mmq_put_array(&buf, (JOB_BYTES - (uint32_t)buf.size) / sizeof(row));
	while (buf.size + sizeof(row) <= JOB_BYTES)
		mmq_put_str(&buf, row);
	enqueue->request = (struct load_request){ .bytes = buf.bytes, .size = buf.size };
	enqueue->request.id_at = (size_t)((uint8_t *)memmem(buf.bytes, buf.size, "00000000", LOAD_ID_CHARS) - buf.bytes);
	enqueue->load = (struct load){ .socket = bench_socket(enqueue->context, ZMQ_DEALER, front, false), .requests = &enqueue->request,
		.requests_count = 1, .is_good = is_accepted };
	enqueue->load.answer_id_at = 8;   /* map, v, 1, id, then the text's head */
}

static double
enqueue_rate(struct enqueue *enqueue, size_t in_flight)
{
	return load_rate(&enqueue->load, (int)in_flight, in_flight == 1 ? 500 : 10000);
}

int
main(int argc, char **argv)
{
	static const char *const names[SIDES] = { "broker", "journal", "file", "redis" };
	static const size_t batches[] = { 1, 64, 1024 };
	static struct enqueue enqueue;
	char folder[128], path[160], command[192];
	uint64_t number = 0;
	struct mmq_journal *journal;
	struct mmq_journal_info info;
	struct redis redis;
	struct mmq_err err;

	snprintf(folder, sizeof(folder), "%s/mmq-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/journal.db", folder);
	struct mmq_journal_options options = { .path = path };
	if (mmq_journal_sqlite.open(&journal, &options, &info, &err) == -1) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	redis_start(&redis, folder);
	enqueue_start(&enqueue, folder, argc > 2 ? argv[2] : "build/bin/modelmq-broker");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("durable jobs of 1 KiB per second, medians of %d interleaved rounds, SQLite %s%s\n", ROUNDS, sqlite3_libversion(),
	    redis.fd == -1 ? "; redis-server is not installed" : "");
	printf("%-10s", "in flight");
	for (size_t i = 0; i < SIDES; i++)
		printf(" %10s", names[i]);
	printf("\n");
	for (size_t b = 0; b < sizeof(batches) / sizeof(*batches); b++) {
		double rates[SIDES][ROUNDS];

		for (int round = 0; round < ROUNDS; round++) {
			rates[BROKER][round] = enqueue_rate(&enqueue, batches[b]);
			rates[JOURNAL][round] = journal_rate(&mmq_journal_sqlite, journal, batches[b], &number);
			rates[BARE_FILE][round] = file_rate(folder, batches[b]);
			rates[REDIS][round] = redis_rate(&redis, batches[b]);
		}
		printf("%-10zu", batches[b]);
		for (size_t i = 0; i < SIDES; i++)
			printf(" %10.0f", load_quantile(rates[i], ROUNDS, 0.5));
		printf("\n");
		fflush(stdout);
	}
	mmq_journal_sqlite.close(&journal);
	kill(enqueue.broker, SIGKILL);
	waitpid(enqueue.broker, NULL, 0);
	if (redis.fd != -1) {
		kill(redis.pid, SIGKILL);
		waitpid(redis.pid, NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) != 0;
}
