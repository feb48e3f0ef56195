/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate_tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <nng/supplemental/tls/engine.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
	bool registered;
} tls = { .mutex = PTHREAD_MUTEX_INITIALIZER };

struct nng_tls_engine_config {
	nng_tls_mode mode;
};

struct nng_tls_engine_conn {
	void *stream;
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
	return 0;
}

/* --- one connection --- */

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	struct nng_tls_engine_conn *c = arg;
	int rv = nng_tls_engine_recv(c->stream, data, &len);

	if (rv == 0)
		return (ssize_t)len;
	if (rv == NNG_ECLOSED)
		return 0;
	gnutls_transport_set_errno(c->session, rv == NNG_EAGAIN ? EAGAIN : EIO);
	return -1;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *data, size_t len)
{
	struct nng_tls_engine_conn *c = arg;
	int rv = nng_tls_engine_send(c->stream, data, &len);

	if (rv == 0)
		return (ssize_t)len;
	gnutls_transport_set_errno(c->session, rv == NNG_EAGAIN ? EAGAIN : EIO);
	return -1;
}

static int conn_init(struct nng_tls_engine_conn *c, void *stream,
		     struct nng_tls_engine_config *cfg)
{
	if (cfg->mode != NNG_TLS_MODE_SERVER)
		return NNG_ENOTSUP;
	c->stream = stream;
	c->credentials = hold();
	if (!c->credentials)
		return NNG_ECRYPTO;
	if (gnutls_init(&c->session, GNUTLS_SERVER | GNUTLS_NONBLOCK |
					     GNUTLS_NO_SIGNAL) < 0) {
		rele(c->credentials);
		return NNG_ENOMEM;
	}
	gnutls_set_default_priority(c->session);
	gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE,
			       c->credentials->cert);
	gnutls_certificate_server_set_request(c->session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_cert(c->session, NULL, 0);
	gnutls_transport_set_ptr(c->session, c);
	gnutls_transport_set_pull_function(c->session, pull);
	gnutls_transport_set_push_function(c->session, push);
	return 0;
}

static void conn_fini(struct nng_tls_engine_conn *c)
{
	gnutls_deinit(c->session);
	rele(c->credentials);
}

static void conn_close(struct nng_tls_engine_conn *c)
{
	if (c->done)
		gnutls_bye(c->session, GNUTLS_SHUT_WR);
}

static int from_gnutls(int err)
{
	switch (err) {
	case GNUTLS_E_AGAIN:
	case GNUTLS_E_INTERRUPTED:
		return NNG_EAGAIN;
	case GNUTLS_E_MEMORY_ERROR:
		return NNG_ENOMEM;
	case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
		return NNG_EPEERAUTH;
	case GNUTLS_E_PREMATURE_TERMINATION:
		return NNG_ECLOSED;
	default:
		return NNG_ECRYPTO;
	}
}

/* Takes the DNS names; without any, the common name (RFC 6125). */
static void take_names(struct nng_tls_engine_conn *c)
{
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t crt;
	unsigned n = 0;
	size_t len;

	chain = gnutls_certificate_get_peers(c->session, &n);
	if (!chain || n == 0 || gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) < 0) {
		gnutls_x509_crt_deinit(crt);
		return;
	}
	for (unsigned i = 0; c->n_names < NAMES_MAX; i++) {
		int kind;

		len = NAME_BYTES;
		kind = gnutls_x509_crt_get_subject_alt_name(
			crt, i, c->name[c->n_names], &len, NULL);
		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		/* A name with a NUL inside would compare as a shorter one. */
		if (kind == GNUTLS_SAN_DNSNAME &&
		    strnlen(c->name[c->n_names], NAME_BYTES) == len)
			c->n_names++;
	}
	len = NAME_BYTES;
	if (c->n_names == 0 &&
	    gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
					  0, c->name[0], &len) == 0 &&
	    strnlen(c->name[0], NAME_BYTES) == len)
		c->n_names = 1;
	gnutls_x509_crt_deinit(crt);
}

static int conn_handshake(struct nng_tls_engine_conn *c)
{
	int err;

	if (c->done)
		return 0;
	err = gnutls_handshake(c->session);
	if (!err) {
		take_names(c);
		c->done = true;
		return 0;
	}
	if (!gnutls_error_is_fatal(err))
		return NNG_EAGAIN;
	log_warn("TLS handshake with an agent failed error=\"%s\"",
		 gnutls_strerror(err));
	gnutls_alert_send_appropriate(c->session, err);
	return from_gnutls(err);
}

/* nng 1.5 may read or write before the handshake, so complete that first. */
static int conn_recv(struct nng_tls_engine_conn *c, uint8_t *data, size_t *len)
{
	int rv = conn_handshake(c);
	ssize_t n;

	if (rv != 0)
		return rv;
	n = gnutls_record_recv(c->session, data, *len);
	if (n == 0)
		return NNG_ECLOSED;
	if (n < 0)
		return gnutls_error_is_fatal((int)n) ? from_gnutls((int)n)
						     : NNG_EAGAIN;
	*len = (size_t)n;
	return 0;
}

static int conn_send(struct nng_tls_engine_conn *c, const uint8_t *data,
		     size_t *len)
{
	int rv = conn_handshake(c);
	ssize_t n;

	if (rv != 0)
		return rv;
	n = gnutls_record_send(c->session, data, *len);
	if (n < 0)
		return gnutls_error_is_fatal((int)n) ? from_gnutls((int)n)
						     : NNG_EAGAIN;
	*len = (size_t)n;
	return 0;
}

/*
 * The name that gate_tls_peer_is() wants. nng_stream_get_bool() is the only way
 * from a stream to its connection; nng calls conn_verified() for it in the same
 * thread, so the name is passed in a thread variable and compared there.
 */
static __thread const char *wanted;

static bool conn_verified(struct nng_tls_engine_conn *c)
{
	if (!wanted || !c->done)
		return false;
	for (unsigned i = 0; i < c->n_names; i++)
		if (strcasecmp(c->name[i], wanted) == 0)
			return true;
	return false;
}

bool gate_tls_peer_is(nng_stream *stream, const char *name)
{
	bool is = false;

	wanted = name;
	if (nng_stream_get_bool(stream, NNG_OPT_TLS_VERIFIED, &is) != 0)
		is = false;
	wanted = NULL;
	return is;
}

/* --- the engine; gate_tls_use() configures it, nng's calls do not --- */

static int config_init(struct nng_tls_engine_config *cfg, nng_tls_mode mode)
{
	cfg->mode = mode;
	return 0;
}

static void config_fini(struct nng_tls_engine_config *cfg)
{
	(void)cfg;
}

static int config_server(struct nng_tls_engine_config *cfg, const char *name)
{
	(void)cfg;
	(void)name;
	return 0;
}

static int config_auth(struct nng_tls_engine_config *cfg,
		       nng_tls_auth_mode mode)
{
	(void)cfg;
	(void)mode;
	return 0; /* always required */
}

static int config_ca(struct nng_tls_engine_config *cfg, const char *certs,
		     const char *crl)
{
	(void)cfg;
	(void)certs;
	(void)crl;
	return NNG_ENOTSUP;
}

static int config_own(struct nng_tls_engine_config *cfg, const char *cert,
		      const char *key, const char *pass)
{
	(void)cfg;
	(void)cert;
	(void)key;
	(void)pass;
	return NNG_ENOTSUP;
}

static int config_version(struct nng_tls_engine_config *cfg,
			  nng_tls_version min, nng_tls_version max)
{
	(void)cfg;
	(void)min;
	(void)max;
	return 0;
}

static nng_tls_engine_config_ops config_ops = {
	.size = sizeof(struct nng_tls_engine_config),
	.init = config_init,
	.fini = config_fini,
	.server = config_server,
	.auth = config_auth,
	.ca_chain = config_ca,
	.own_cert = config_own,
	.version = config_version,
};

static nng_tls_engine_conn_ops conn_ops = {
	.size = sizeof(struct nng_tls_engine_conn),
	.init = conn_init,
	.fini = conn_fini,
	.close = conn_close,
	.handshake = conn_handshake,
	.recv = conn_recv,
	.send = conn_send,
	.verified = conn_verified,
};

static const nng_tls_engine engine = {
	.version = NNG_TLS_ENGINE_VERSION,
	.config_ops = &config_ops,
	.conn_ops = &conn_ops,
	.name = "gnutls",
	.description = "GnuTLS",
};

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
	if (!err && !tls.registered) {
		nng_tls_config *any;

		/* nng registers its own on first use; the last one wins. */
		if (nng_tls_config_alloc(&any, NNG_TLS_MODE_SERVER) == 0)
			nng_tls_config_free(any);
		err = nng_tls_engine_register(&engine) == 0 ? 0 : -EINVAL;
		tls.registered = !err;
	}
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
