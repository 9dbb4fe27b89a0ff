/* main.c: the broker's options, one row each. */
#include "broker/shell.h"
#include "daemon/daemon.h"

#define AT(member) offsetof(struct shell, options.member)
static const struct mmq_option options[] = {
	{ "home", MMQ_OPTION_TEXT, AT(home), "modelmq-home", 0, 0, 0, "folder of the lock, the journal, the ipc sockets and `endpoints`" },
	{ "request", MMQ_OPTION_TEXT, AT(given[SHELL_REQUEST]), NULL, 0, 0, 0, "where clients ask; default an ipc socket in HOME; tcp://127.0.0.1:* takes a free port" },
	{ "publish", MMQ_OPTION_TEXT, AT(given[SHELL_PUBLISH]), NULL, 0, 0, 0, "where clients push" },
	{ "sink", MMQ_OPTION_TEXT, AT(given[SHELL_SINK]), NULL, 0, 0, 0, "where subscribers listen" },
	{ "work", MMQ_OPTION_TEXT, AT(given[SHELL_WORK]), NULL, 0, 0, 0, "where workers connect" },
	{ "keys", MMQ_OPTION_TEXT, AT(keys), NULL, 0, 0, 0, "folder of CURVE keys; tcp sockets are then encrypted and let in only the keys in its folder allow" },
	{ "journal", MMQ_OPTION_TEXT, AT(journal), "sqlite", 0, 0, 0, "sqlite, memory (nothing survives the broker) or none (no durable work)" },
	{ "http", MMQ_OPTION_TEXT, AT(http), NULL, 0, 0, 0, "loopback address for /metrics and /health/ready, as 127.0.0.1:9464; none: no such port" },
	{ "message-bytes-max", MMQ_OPTION_BYTES, AT(message_bytes_max), "4M", 1024, 1 << 30, 0, "largest frame of a client" },
	{ "work-bytes-max", MMQ_OPTION_BYTES, AT(work_bytes_max), "64M", 65536, 1 << 30, 0, "largest frame of a worker" },
	{ "peer-timeout-ms", MMQ_OPTION_COUNT, AT(peer_timeout_ms), "300000", 0, 86400000, 0, "a client's connection on which no frame, nor the answer to a ping, was complete for so long is closed; 0: never" },
	{ "peers-max", MMQ_OPTION_COUNT, AT(peers_max), "1023", 16, 1000000, 0, "sockets of the libzmq context" },
	{ "io-threads", MMQ_OPTION_COUNT, AT(io_threads), "1", 1, 16, 0, "threads that move bytes" },
	{ "outbox-bytes-max", MMQ_OPTION_BYTES, AT(outbox_bytes_max), "256M", 0, INT64_C(1) << 40, 0, "answers kept for clients that do not read, all of them" },
	{ "outbox-bytes-each", MMQ_OPTION_BYTES, AT(outbox_bytes_each), "16M", 0, INT64_C(1) << 40, 0, "the same, for one client" },
	{ "outbox-ttl-ms", MMQ_OPTION_COUNT, AT(outbox_ttl_ms), "30000", 1, 86400000, 0, "how long such an answer is kept" },
	{ "drain-ms", MMQ_OPTION_COUNT, AT(drain_ms), "10000", 0, 86400000, 0, "after TERM, finish what is held for at most this long" },
	{ "heartbeat-ms", MMQ_OPTION_COUNT, AT(heartbeat_ms), "500", 10, 60000, MMQ_OPTION_RELOAD, "how often workers are to be heard" },
	{ "lease-ms", MMQ_OPTION_COUNT, AT(lease_ms), "5000", 20, 600000, MMQ_OPTION_RELOAD, "a worker that is silent for this long loses what it holds" },
	{ "stall-ms", MMQ_OPTION_COUNT, AT(stall_ms), "1800000", 20, 2000000000, MMQ_OPTION_RELOAD, "a training without progress for this long is taken from its trainer" },
	{ "adoption-ms", MMQ_OPTION_COUNT, AT(adoption_ms), "10000", 1, 600000, 0, "after a start, how long held trainings wait for their worker" },
	{ "requests-max", MMQ_OPTION_COUNT, AT(requests_max), "100000", 1, 100000000, MMQ_OPTION_RELOAD, "requests held in memory" },
	{ "bytes-max", MMQ_OPTION_BYTES, AT(bytes_max), "256M", 65536, INT64_C(1) << 40, MMQ_OPTION_RELOAD, "bytes of requests held in memory" },
	{ "requests-tenant-max", MMQ_OPTION_COUNT, AT(requests_tenant_max), "50000", 1, 100000000, MMQ_OPTION_RELOAD, "requests of one tenant held in memory" },
	{ "bytes-tenant-max", MMQ_OPTION_BYTES, AT(bytes_tenant_max), "192M", 1, INT64_C(1) << 40, MMQ_OPTION_RELOAD, "their bytes" },
	{ "requests-client-max", MMQ_OPTION_COUNT, AT(requests_client_max), "25000", 1, 100000000, MMQ_OPTION_RELOAD, "requests of one connection held in memory" },
	{ "bytes-client-max", MMQ_OPTION_BYTES, AT(bytes_client_max), "96M", 1, INT64_C(1) << 40, MMQ_OPTION_RELOAD, "their bytes" },
	{ "requests-model-max", MMQ_OPTION_COUNT, AT(requests_model_max), "40000", 1, 100000000, MMQ_OPTION_RELOAD, "requests for one model held in memory" },
	{ "bytes-model-max", MMQ_OPTION_BYTES, AT(bytes_model_max), "160M", 1, INT64_C(1) << 40, MMQ_OPTION_RELOAD, "their bytes" },
	{ "requests-priority-max", MMQ_OPTION_COUNT, AT(requests_priority_max), "80000", 1, 100000000, MMQ_OPTION_RELOAD, "requests of one priority held in memory" },
	{ "bytes-priority-max", MMQ_OPTION_BYTES, AT(bytes_priority_max), "208M", 1, INT64_C(1) << 40, MMQ_OPTION_RELOAD, "their bytes" },
	{ "durable-max", MMQ_OPTION_COUNT, AT(durable_max), "10000000", 1, 1000000000, MMQ_OPTION_RELOAD, "durable requests that have not ended" },
	{ "disk-free-min", MMQ_OPTION_BYTES, AT(disk_free_min), "64M", 0, INT64_C(1) << 50, 0, "refuse durable work below this much free disk" },
	{ "strikes-max", MMQ_OPTION_COUNT, AT(strikes_max), "3", 1, 100, MMQ_OPTION_RELOAD, "workers that a request may kill before it is given up" },
	{ "retention-hours", MMQ_OPTION_COUNT, AT(retention_hours), "168", 1, 1000, MMQ_OPTION_RELOAD, "how long ended durable requests are kept" },
	{ "retention-bytes", MMQ_OPTION_BYTES, AT(retention_bytes), "1G", 65536, INT64_C(1) << 50, MMQ_OPTION_RELOAD, "and how much of them, the newest" },
	{ "dead-retention-hours", MMQ_OPTION_COUNT, AT(dead_retention_hours), "720", 1, 1000, MMQ_OPTION_RELOAD, "how long dead letters are kept" },
	{ "dead-retention-bytes", MMQ_OPTION_BYTES, AT(dead_retention_bytes), "256M", 65536, INT64_C(1) << 50, MMQ_OPTION_RELOAD, "and how much of them, the newest" },
	{ .name = NULL },
};

static const struct mmq_daemon broker = {
	.name = "modelmq-broker", .summary = "takes requests, keeps them until they are answered, hands them to workers",
	.options = options, .check = mmq_shell_check, .start = mmq_shell_start, .loop = mmq_shell_loop, .stop = mmq_shell_stop,
};

int
main(int argc, char **argv)
{
	static struct shell shell;

	return mmq_daemon_main(&broker, &shell, argc, argv);
}
