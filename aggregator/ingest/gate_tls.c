/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate_tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/files.h"
#include "common/log.h"

#define NAME_BYTES 256
#define NAMES_MAX 8

/* The files' content; shared by the connections that started with it. */
struct credentials {
	gnutls_certificate_credentials_t cert;
	unsigned users;
};

static struct {
	pthread_mutex_t mutex; /* guards current, and users of all */
	struct credentials *current;
} tls = { .mutex = PTHREAD_MUTEX_INITIALIZER };

struct gate_tls {
	struct credentials *credentials;
	gnutls_session_t session;
	bool done; /* handshake complete, names valid */
	unsigned n_names;
	char name[NAMES_MAX][NAME_BYTES];
};

/* --- credentials --- */

static struct credentials *hold(void)
{
	struct credentials *c;

	pthread_mutex_lock(&tls.mutex);
	c = tls.current;
	if (c)
		c->users++;
	pthread_mutex_unlock(&tls.mutex);
	return c;
}

static void rele(struct credentials *c)
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

static int load_credentials(struct credentials *c,
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

/* --- one connection --- */

int gate_tls_open(struct gate_tls **out, int fd)
{
	struct gate_tls *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->credentials = hold();
	if (!t->credentials ||
	    gnutls_init(&t->session, GNUTLS_SERVER | GNUTLS_NONBLOCK |
					     GNUTLS_NO_SIGNAL) < 0) {
		rele(t->credentials);
		free(t);
		return -ENOMEM;
	}
	gnutls_set_default_priority(t->session);
	gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE,
			       t->credentials->cert);
	gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_cert(t->session, NULL, 0);
	gnutls_transport_set_int(t->session, fd);
	*out = t;
	return 0;
}

void gate_tls_close(struct gate_tls *t)
{
	if (!t)
		return;
	if (t->done)
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
	gnutls_deinit(t->session);
	rele(t->credentials);
	free(t);
}

/* Takes the DNS names; without any, the common name (RFC 6125). */
static void take_names(struct gate_tls *t)
{
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t crt;
	unsigned n = 0;
	size_t len;

	chain = gnutls_certificate_get_peers(t->session, &n);
	if (!chain || n == 0 || gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(crt);
		return;
	}
	for (unsigned i = 0; t->n_names < NAMES_MAX; i++) {
		int kind;

		len = NAME_BYTES;
		kind = gnutls_x509_crt_get_subject_alt_name(
			crt, i, t->name[t->n_names], &len, NULL);
		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		/* A name with a NUL inside would compare as a shorter one. */
		if (kind == GNUTLS_SAN_DNSNAME &&
		    strnlen(t->name[t->n_names], NAME_BYTES) == len)
			t->n_names++;
	}
	len = NAME_BYTES;
	if (t->n_names == 0 &&
	    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
					  0, t->name[0], &len) == 0 &&
	    strnlen(t->name[0], NAME_BYTES) == len)
		t->n_names = 1;
	gnutls_x509_crt_deinit(crt);
}

int gate_tls_handshake(struct gate_tls *t)
{
	int err = gnutls_handshake(t->session);

	if (!err) {
		take_names(t);
		t->done = true;
		return 0;
	}
	if (!gnutls_error_is_fatal(err))
		return -EAGAIN;
	log_warn("TLS handshake with an agent failed error=\"%s\"",
		 gnutls_strerror(err));
	gnutls_alert_send_appropriate(t->session, err);
	return -EPROTO;
}

/* Warnings and what else is not fatal: the caller tries again later. */
static ssize_t from_gnutls(ssize_t n)
{
	if (n >= 0)
		return n;
	return gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

ssize_t gate_tls_recv(struct gate_tls *t, void *to, size_t len)
{
	return from_gnutls(gnutls_record_recv(t->session, to, len));
}

ssize_t gate_tls_send(struct gate_tls *t, const void *from, size_t len)
{
	return from_gnutls(gnutls_record_send(t->session, from, len));
}

bool gate_tls_peer_is(const struct gate_tls *t, const char *name)
{
	for (unsigned i = 0; t->done && i < t->n_names; i++)
		if (strcasecmp(t->name[i], name) == 0)
			return true;
	return false;
}

/* --- the files --- */

int gate_tls_use(const struct gate_tls_files *files)
{
	struct credentials *c, *old;
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
		rele(c);
		return err;
	}
	pthread_mutex_lock(&tls.mutex);
	old = tls.current;
	tls.current = c;
	pthread_mutex_unlock(&tls.mutex);
	rele(old);
	return 0;
}
