/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate_credentials.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/files.h"
#include "common/log.h"

struct gate_credentials {
	gnutls_certificate_credentials_t cert;
	int64_t own_expires_s, ca_expires_s; /* unix time; 0: unknown */
	unsigned users;
};

static struct {
	pthread_mutex_t mutex; /* guards current, and users of all */
	struct gate_credentials *current;
} tls = { .mutex = PTHREAD_MUTEX_INITIALIZER };

struct gate_credentials *gate_credentials_hold(void)
{
	struct gate_credentials *c;

	pthread_mutex_lock(&tls.mutex);
	c = tls.current;
	if (c)
		c->users++;
	pthread_mutex_unlock(&tls.mutex);
	return c;
}

void gate_credentials_rele(struct gate_credentials *c)
{
	bool last;

	if (!c)
		return;
	pthread_mutex_lock(&tls.mutex);
	last = --c->users == 0;
	pthread_mutex_unlock(&tls.mutex);
	if (!last)
		return;
	gnutls_certificate_free_credentials(c->cert);
	free(c);
}

static int load_credentials(struct gate_credentials *c,
			    const struct gate_tls_files *f)
{
	const char *what = f->ca_file;
	int err = gnutls_certificate_set_x509_trust_file(c->cert, f->ca_file,
							 GNUTLS_X509_FMT_PEM);

	if (err > 0) { /* number of certificates */
		what = f->cert_file;
		err = gnutls_certificate_set_x509_key_file(
			c->cert, f->cert_file, f->key_file,
			GNUTLS_X509_FMT_PEM);
	} else if (!err) {
		err = GNUTLS_E_NO_CERTIFICATE_FOUND;
	}
	if (err == GNUTLS_E_MEMORY_ERROR)
		return -ENOMEM;
	if (err < 0) {
		log_error("ingest TLS file cannot be used file=%s error=\"%s\"",
			  what, gnutls_strerror(err));
		return -EINVAL;
	}
	files_check_secret(f->key_file);
	return 0;
}

gnutls_certificate_credentials_t
gate_credentials_cert(const struct gate_credentials *c)
{
	return c->cert;
}

static void note_earliest(int64_t *earliest_s, gnutls_x509_crt_t crt)
{
	int64_t s = (int64_t)gnutls_x509_crt_get_expiration_time(crt);

	if (s > 0 && (*earliest_s == 0 || s < *earliest_s))
		*earliest_s = s;
}

/* Of each file, the certificate that expires first. */
static void note_expiry(struct gate_credentials *c)
{
	gnutls_x509_trust_list_t list;
	gnutls_x509_trust_list_iter_t iter = NULL;
	gnutls_x509_crt_t *chain, crt;
	unsigned n = 0;

	if (gnutls_certificate_get_x509_crt(c->cert, 0, &chain, &n) == 0) {
		for (unsigned i = 0; i < n; i++) {
			note_earliest(&c->own_expires_s, chain[i]);
			gnutls_x509_crt_deinit(chain[i]);
		}
		gnutls_free(chain);
	}
	gnutls_certificate_get_trust_list(c->cert, &list);
	while (gnutls_x509_trust_list_iter_get_ca(list, &iter, &crt) == 0) {
		note_earliest(&c->ca_expires_s, crt);
		gnutls_x509_crt_deinit(crt);
	}
	gnutls_x509_trust_list_iter_deinit(iter);
}

int gate_credentials_use(const struct gate_tls_files *files)
{
	struct gate_credentials *c, *old;
	int err;

	if (!files->cert_file || !files->key_file || !files->ca_file) {
		log_error("ingest TLS needs cert_file, key_file and ca_file");
		return -EINVAL;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->users = 1;
	if (gnutls_certificate_allocate_credentials(&c->cert) < 0) {
		free(c);
		return -ENOMEM;
	}
	err = load_credentials(c, files);
	if (err < 0) {
		gate_credentials_rele(c);
		return err;
	}
	note_expiry(c);
	pthread_mutex_lock(&tls.mutex);
	old = tls.current;
	tls.current = c;
	pthread_mutex_unlock(&tls.mutex);
	gate_credentials_rele(old);
	return 0;
}

void gate_tls_expires(struct gate_tls_expiry *out)
{
	*out = (struct gate_tls_expiry){ .own_s = 0 };
	pthread_mutex_lock(&tls.mutex);
	if (tls.current)
		*out = (struct gate_tls_expiry){
			.own_s = tls.current->own_expires_s,
			.ca_s = tls.current->ca_expires_s,
		};
	pthread_mutex_unlock(&tls.mutex);
}
