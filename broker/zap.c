/* zap.c: reads the folder of allowed keys with czmq's certificate reader and answers ZAP 1.0 requests. See zap.h.
 * The folder's stamp covers names, sizes, inodes and change times to the nanosecond of every file, so that a key that was
 * replaced by one of equal size within the same second is seen too. */
#include "broker/zap.h"

#include <czmq.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "util/clock.h"
#include "util/mem.h"

enum { KEYS_MAX = 100000, LOOK_US = 20000 };

static const unsigned allowed[SHELL_SOCKETS] = {
	[SHELL_REQUEST] = ZAP_CLIENT | ZAP_ADMIN, [SHELL_PUBLISH] = ZAP_CLIENT | ZAP_ADMIN,
	[SHELL_SINK] = ZAP_SUBSCRIBER | ZAP_CLIENT | ZAP_ADMIN, [SHELL_WORK] = ZAP_WORKER,
};

static unsigned
roles_read(const char *text)
{
	static const struct { const char *name; unsigned role; } roles[] = {
		{ "client", ZAP_CLIENT }, { "worker", ZAP_WORKER }, { "subscriber", ZAP_SUBSCRIBER }, { "admin", ZAP_ADMIN },
	};
	unsigned result = 0;

	while (text != NULL && *text != 0) {
		size_t size = strcspn(text, ", ");

		for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
			if (strlen(roles[i].name) == size && strncmp(text, roles[i].name, size) == 0)
				result |= roles[i].role;
		text += size;
		text += strspn(text, ", ");
	}
	return result;
}

static bool
tenant_is_valid(const char *text)
{
	size_t size = strlen(text);

	return size > 0 && size <= 64 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") == size && strchr("._-", text[0]) == NULL;
}

static int
key_compare(const void *a, const void *b)
{
	return strcmp(((const struct zap_key *)a)->text, ((const struct zap_key *)b)->text);
}

static void
key_read(const char *path, struct zap_key **keys, int *count)
{
	zcert_t *cert = zcert_load(path);
	const char *tenant;
	struct zap_key key = { .roles = 0 };

	if (cert == NULL) {
		mmq_log(MMQ_LOG_WARN, "key", "file=%s error=\"not a certificate\"", path);
		return;
	}
	tenant = zcert_meta(cert, "tenant");
	tenant = tenant == NULL ? "default" : tenant;
	key.roles = roles_read(zcert_meta(cert, "role"));
	snprintf(key.text, sizeof key.text, "%s", zcert_public_txt(cert));
	if (!tenant_is_valid(tenant) || key.roles == 0) {
		mmq_log(MMQ_LOG_WARN, "key", "file=%s error=\"needs a role (client, worker, subscriber, admin) and a valid tenant\"", path);
	} else if (*count < KEYS_MAX) {
		snprintf(key.tenant, sizeof key.tenant, "%s", tenant);
		*keys = mmq_grow(*keys, (size_t)*count + 1, sizeof **keys);
		(*keys)[(*count)++] = key;
	}
	zcert_destroy(&cert);
}

/* Mix what stat says of every file into one number that does not depend on the folder's order. */
static uint64_t
folder_stamp(const char *folder)
{
	DIR *dir = opendir(folder);
	uint64_t stamp = 1;
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		struct { uint64_t name, inode, size, seconds, nanoseconds; } facts = { 0 };
		static const uint8_t zero_key[crypto_shorthash_KEYBYTES];
		uint8_t hash[crypto_shorthash_BYTES];
		struct stat st;
		uint64_t number;

		if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) == -1)
			continue;
		crypto_shorthash(hash, (const uint8_t *)entry->d_name, strlen(entry->d_name), zero_key);
		memcpy(&facts.name, hash, sizeof facts.name);
		facts.inode = st.st_ino;
		facts.size = (uint64_t)st.st_size;
		facts.seconds = (uint64_t)st.st_ctim.tv_sec;
		facts.nanoseconds = (uint64_t)st.st_ctim.tv_nsec;
		crypto_shorthash(hash, (const uint8_t *)&facts, sizeof facts, zero_key);
		memcpy(&number, hash, sizeof number);
		stamp += number;
	}
	if (dir != NULL)
		closedir(dir);
	return stamp;
}

static void
keys_read(struct zap *zap, struct zap_key **keys_out, int *count_out)
{
	char folder[3072], path[4096];
	struct dirent *entry;
	DIR *dir;

	*keys_out = NULL;
	*count_out = 0;
	snprintf(folder, sizeof folder, "%s/allow", zap->folder);
	dir = opendir(folder);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || (length > 7 && strcmp(entry->d_name + length - 7, "_secret") == 0))
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		key_read(path, keys_out, count_out);
	}
	if (dir != NULL)
		closedir(dir);
	if (*count_out > 1)
		qsort(*keys_out, (size_t)*count_out, sizeof **keys_out, key_compare);
}

static int
own_keys_load(struct zap *zap, struct mmq_err *err)
{
	char path[4096], secret[4104];
	zcert_t *cert;

	snprintf(path, sizeof path, "%s/broker", zap->folder);
	snprintf(secret, sizeof secret, "%s_secret", path);
	if (access(secret, F_OK) == -1) {
		mode_t mask = umask(0077);

		cert = zcert_new();
		zcert_set_meta(cert, "role", "broker");
		if (zcert_save(cert, path) == -1)
			zcert_destroy(&cert);
		umask(mask);
	} else {
		cert = zcert_load(path);
	}
	if (cert == NULL || strspn(zcert_secret_txt(cert), "0") == 40) {
		zcert_destroy(&cert);
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "keys: cannot read or create '%s'", secret);
	}
	snprintf(zap->public_key, sizeof zap->public_key, "%s", zcert_public_txt(cert));
	snprintf(zap->secret_key, sizeof zap->secret_key, "%s", zcert_secret_txt(cert));
	zcert_destroy(&cert);
	return 0;
}

int
mmq_zap_open(struct zap *zap, void *context, const char *folder, struct mmq_err *err)
{
	char path[4096];

	*zap = (struct zap){ .folder = mmq_strdup(folder) };
	if (sodium_init() == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "keys: no source of random numbers");
	snprintf(path, sizeof path, "%s/allow", folder);
	if ((mkdir(folder, 0700) == -1 && errno != EEXIST) || (mkdir(path, 0700) == -1 && errno != EEXIST))
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "keys: cannot create '%s': %s", path, strerror(errno));
	if (own_keys_load(zap, err) == -1)
		return -1;
	zap->stamp = folder_stamp(path);
	keys_read(zap, &zap->keys, &zap->keys_count);
	zap->socket = zmq_socket(context, ZMQ_REP);
	if (zap->socket == NULL || zmq_bind(zap->socket, "inproc://zeromq.zap.01") == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "keys: ZAP handler: %s", zmq_strerror(zmq_errno()));
	return 0;
}

void
mmq_zap_close(struct zap *zap)
{
	if (zap->socket != NULL)
		zmq_close(zap->socket);
	free(zap->folder);
	free(zap->keys);
	sodium_memzero(zap, sizeof *zap);
}

int
mmq_zap_protect(struct zap *zap, void *socket, enum shell_socket which, struct mmq_err *err)
{
	const char *domain = mmq_shell_socket_name(which);
	int on = 1;

	if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) == -1 ||
	    zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &on, sizeof on) == -1 ||
	    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, zap->secret_key, 41) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "%s: CURVE: %s", domain, zmq_strerror(zmq_errno()));
	return 0;
}

/* libzmq's own pings do it: whole frames stop the clock, and a peer in the middle of a frame cannot answer. */
void
mmq_zap_patience(void *socket, int64_t peer_timeout_ms)
{
	int handshake_ms = 5000, half_ms = (int)((peer_timeout_ms + 1) / 2);

	zmq_setsockopt(socket, ZMQ_HANDSHAKE_IVL, &handshake_ms, sizeof handshake_ms);
	zmq_setsockopt(socket, ZMQ_HEARTBEAT_IVL, &half_ms, sizeof half_ms);
	zmq_setsockopt(socket, ZMQ_HEARTBEAT_TIMEOUT, &half_ms, sizeof half_ms);
}

const struct zap_key *
mmq_zap_find(const struct zap *zap, const char *user_id, enum shell_socket which)
{
	struct zap_key wanted = { .roles = 0 };
	const struct zap_key *key;

	if (user_id == NULL || zap->keys_count == 0)
		return NULL;
	snprintf(wanted.text, sizeof wanted.text, "%s", user_id);
	key = bsearch(&wanted, zap->keys, (size_t)zap->keys_count, sizeof *zap->keys, key_compare);
	return key != NULL && (key->roles & allowed[which]) != 0 ? key : NULL;
}

static void
folder_look(struct zap *zap)
{
	char path[4096];
	struct zap_key *old = zap->keys;
	int old_count = zap->keys_count;
	uint64_t stamp;
	bool lost = false;

	snprintf(path, sizeof path, "%s/allow", zap->folder);
	stamp = folder_stamp(path);
	if (stamp == zap->stamp)
		return;
	zap->stamp = stamp;
	keys_read(zap, &zap->keys, &zap->keys_count);
	for (int i = 0; i < old_count; i++) {
		const struct zap_key *now = zap->keys_count == 0 ? NULL :
		    bsearch(&old[i], zap->keys, (size_t)zap->keys_count, sizeof *zap->keys, key_compare);

		lost |= now == NULL || (now->roles & old[i].roles) != old[i].roles || strcmp(now->tenant, old[i].tenant) != 0;
	}
	mmq_log(MMQ_LOG_INFO, "keys", "count=%d revoked=%s", zap->keys_count, lost ? "yes" : "no");
	free(old);
	zap->revoked |= lost;
}

/* libzmq's client gives up for good when it is refused, so a key that was allowed a moment ago must be seen at once. Strangers
 * make us look at the folder at most every LOOK_US. */
static bool
key_is_allowed(struct zap *zap, const char *text, enum shell_socket which)
{
	int64_t now_us = mmq_clock_mono_us();

	if (mmq_zap_find(zap, text, which) != NULL)
		return true;
	if (now_us - zap->looked_us < LOOK_US)
		return false;
	zap->looked_us = now_us;
	folder_look(zap);
	return mmq_zap_find(zap, text, which) != NULL;
}

/* Frames of a request: version, request id, domain, address, identity, mechanism, credentials. */
void
mmq_zap_answer(struct zap *zap)
{
	for (int burst = 0; burst < 64; burst++) {
		char parts[7][256];
		const char *code = "400", *reason = "refused", *user = "";
		uint8_t key[32];
		char text[41] = "";
		size_t sizes[7] = { 0 };
		int count = 0, more = 1, size, which = SHELL_SOCKETS;
		size_t more_size = sizeof more;

		while (more) {
			size = zmq_recv(zap->socket, parts[count < 6 ? count : 6], 255, ZMQ_DONTWAIT);
			if (size == -1) {
				zap->has_more = false;
				return;
			}
			size = size > 255 ? 255 : size;
			sizes[count < 6 ? count : 6] = (size_t)size;
			parts[count < 6 ? count : 6][size] = 0;
			count++;
			zmq_getsockopt(zap->socket, ZMQ_RCVMORE, &more, &more_size);
		}
		for (int i = 0; count == 7 && i < SHELL_SOCKETS; i++)
			if (strcmp(parts[2], mmq_shell_socket_name((enum shell_socket)i)) == 0)
				which = i;
		if (which < SHELL_SOCKETS && strcmp(parts[5], "CURVE") == 0 && sizes[6] == 32) {
			memcpy(key, parts[6], 32);
			zmq_z85_encode(text, key, 32);
			if (key_is_allowed(zap, text, (enum shell_socket)which)) {
				code = "200";
				reason = "OK";
				user = text;
			}
		}
		if (*user == 0) {
			zap->denied++;
			mmq_log(MMQ_LOG_WARN, "denied", "socket=%s address=%s key=%.8s", count >= 4 ? parts[2] : "", count >= 4 ? parts[3] : "", text);
		}
		zmq_send(zap->socket, "1.0", 3, ZMQ_SNDMORE);
		zmq_send(zap->socket, parts[1], count > 1 ? sizes[1] : 0, ZMQ_SNDMORE);
		zmq_send(zap->socket, code, 3, ZMQ_SNDMORE);
		zmq_send(zap->socket, reason, strlen(reason), ZMQ_SNDMORE);
		zmq_send(zap->socket, user, strlen(user), ZMQ_SNDMORE);
		zmq_send(zap->socket, "", 0, 0);
	}
	zap->has_more = true;
}

bool
mmq_zap_reload(struct zap *zap)
{
	bool revoked;

	folder_look(zap);
	revoked = zap->revoked;
	zap->revoked = false;
	return revoked;
}

