/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_auth.h"

#include <crypt.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/log.h"

#define VERIFIED_MAX 64 /* credentials remembered; the oldest is replaced */
#define CREDENTIALS_MAX 1024
#define DIGEST 32

struct web_auth {
	char *path;
	struct web_config *first; /* never changes */
	pthread_mutex_t lock; /* guards the fields below, up to computing */
	struct web_config *now;
	struct stat seen;
	uint8_t salt[16];
	uint8_t verified[VERIFIED_MAX][DIGEST];
	size_t n_verified, next_verified;
	pthread_mutex_t computing; /* one bcrypt at a time */
};

int web_auth_new(struct web_auth **out, const char *path, char *why,
		 size_t why_size)
{
	struct web_auth *a = calloc(1, sizeof(*a));
	int err = -ENOMEM;

	if (!a)
		return err;
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->computing, NULL);
	if (getrandom(a->salt, sizeof(a->salt), 0) != sizeof(a->salt)) {
		err = -EIO;
		goto cleanup;
	}
	if (path) {
		a->path = strdup(path);
		if (!a->path)
			goto cleanup;
		if (stat(path, &a->seen))
			memset(&a->seen, 0, sizeof(a->seen));
		err = web_config_load(&a->first, path, why, why_size);
		if (!err)
			err = web_config_load(&a->now, path, why, why_size);
		if (err)
			goto cleanup;
	}
	*out = a;
	return 0;
cleanup:
	web_auth_free(a);
	return err;
}

void web_auth_free(struct web_auth *a)
{
	if (!a)
		return;
	web_config_free(a->first);
	web_config_free(a->now);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->computing);
	free(a->path);
	free(a);
}

const struct web_config *web_auth_config(const struct web_auth *a)
{
	return a->first;
}

/* Reads the file again if it has changed. Call with a->lock held. */
static void refresh(struct web_auth *a)
{
	struct web_config *fresh;
	char why[512];
	struct stat st;

	if (stat(a->path, &st))
		return; /* being replaced: keep the old one */
	if (st.st_ino == a->seen.st_ino && st.st_size == a->seen.st_size &&
	    st.st_mtim.tv_sec == a->seen.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == a->seen.st_mtim.tv_nsec)
		return;
	a->seen = st;
	if (web_config_load(&fresh, a->path, why, sizeof(why))) {
		log_error("cannot reload web configuration error=\"%s\"", why);
		return;
	}
	if (fresh->tls != a->first->tls)
		log_warn("turning TLS on or off needs a restart file=%s",
			 a->path);
	web_config_free(a->now);
	a->now = fresh;
	a->n_verified = 0;
	log_info("reloaded web configuration file=%s", a->path);
}

/*
 * Decodes "Basic BASE64" into user, of CREDENTIALS_MAX bytes, and *password,
 * which points into it. Both are NUL-terminated.
 */
static bool decode(const char *authorization, char *user, char **password)
{
	const char *code = authorization;
	gnutls_datum_t in, out;
	bool ok = false;

	if (strncasecmp(code, "Basic ", 6))
		return false;
	for (code += 6; *code == ' '; code++)
		;
	if (strlen(code) > CREDENTIALS_MAX)
		return false;
	in.data = (unsigned char *)strdup(code);
	in.size = (unsigned)strlen(code);
	if (!in.data)
		return false;
	if (gnutls_base64_decode2(&in, &out) == 0) {
		if (out.size < CREDENTIALS_MAX &&
		    !memchr(out.data, 0, out.size)) {
			memcpy(user, out.data, out.size);
			user[out.size] = '\0';
			*password = strchr(user, ':');
			ok = *password != NULL;
			if (ok)
				*(*password)++ = '\0';
		}
		gnutls_memset(out.data, 0, out.size);
		gnutls_free(out.data);
	}
	free(in.data);
	return ok;
}

/* Compares in constant time, whichever bytes differ. */
static bool same(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < n; i++)
		difference |= x[i] ^ y[i];
	return !difference;
}

static bool digest(const struct web_auth *a, const char *user,
		   const char *password, const char *hash, uint8_t *out)
{
	gnutls_hash_hd_t h;

	if (gnutls_hash_init(&h, GNUTLS_DIG_SHA256))
		return false;
	gnutls_hash(h, a->salt, sizeof(a->salt));
	gnutls_hash(h, user, strlen(user) + 1);
	gnutls_hash(h, password, strlen(password) + 1);
	gnutls_hash(h, hash, strlen(hash) + 1);
	gnutls_hash_deinit(h, out);
	return true;
}

static bool remembered(struct web_auth *a, const uint8_t *d)
{
	bool found = false;

	for (size_t i = 0; i < a->n_verified; i++)
		found |= same(a->verified[i], d, DIGEST);
	return found;
}

static void remember(struct web_auth *a, const uint8_t *d)
{
	memcpy(a->verified[a->next_verified], d, DIGEST);
	a->next_verified = (a->next_verified + 1) % VERIFIED_MAX;
	if (a->n_verified < VERIFIED_MAX)
		a->n_verified++;
}

static bool bcrypt_matches(struct web_auth *a, const char *password,
			   const char *hash)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char *got;
	bool ok = false;

	if (!data)
		return false;
	pthread_mutex_lock(&a->computing);
	got = crypt_r(password, hash, data);
	pthread_mutex_unlock(&a->computing);
	if (got && strlen(got) == strlen(hash))
		ok = same(got, hash, strlen(hash));
	gnutls_memset(data, 0, sizeof(*data));
	free(data);
	return ok;
}

enum web_verdict web_auth_check(struct web_auth *a, const char *authorization,
				bool compute)
{
	char user[CREDENTIALS_MAX], hash[64], *password;
	enum web_verdict verdict = WEB_DENIED;
	bool known = false, open, found;
	uint8_t d[DIGEST];

	if (!a->path)
		return WEB_ALLOWED;
	pthread_mutex_lock(&a->lock);
	refresh(a);
	open = !a->now->n_users;
	pthread_mutex_unlock(&a->lock);
	if (open)
		return WEB_ALLOWED;
	if (!authorization || !decode(authorization, user, &password))
		return WEB_DENIED;
	pthread_mutex_lock(&a->lock);
	if (!a->now->n_users) {
		pthread_mutex_unlock(&a->lock);
		return WEB_ALLOWED;
	}
	/* An unknown user is checked, too, against the first user's hash, so
	 * that the time does not tell which users exist. */
	strcpy(hash, a->now->users[0].hash);
	for (size_t i = 0; i < a->now->n_users; i++)
		if (!strcmp(a->now->users[i].name, user)) {
			strcpy(hash, a->now->users[i].hash);
			known = true;
		}
	found = digest(a, user, password, hash, d) && known && remembered(a, d);
	pthread_mutex_unlock(&a->lock);
	if (found)
		verdict = WEB_ALLOWED;
	else if (!compute)
		verdict = WEB_UNDECIDED;
	else if (bcrypt_matches(a, password, hash) && known) {
		verdict = WEB_ALLOWED;
		pthread_mutex_lock(&a->lock);
		remember(a, d);
		pthread_mutex_unlock(&a->lock);
	}
	gnutls_memset(user, 0, sizeof(user));
	return verdict;
}
