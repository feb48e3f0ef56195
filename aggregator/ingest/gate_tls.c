/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ingest/gate_tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <nng/supplemental/tls/engine.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "aggregator/ingest/gate_credentials.h"

#define NAME_BYTES 256
#define NAMES_MAX 8

struct nng_tls_engine_config {
	nng_tls_mode mode;
};

struct nng_tls_engine_conn {
	void *stream;
	struct gate_credentials *credentials;
	gnutls_session_t session;
	bool done; /* handshake complete, names valid */
	uint8_t first[4]; /* bytes that came first */
	size_t n_first;
	int64_t expires_s; /* the peer's certificate, unix time; 0: unknown */
	struct gate_tls_failure failure;
	unsigned n_names;
	char name[NAMES_MAX][NAME_BYTES];
};

/* --- one connection --- */

/* Keeps what came first, to tell what the peer speaks instead of TLS. */
static void note_first(struct nng_tls_engine_conn *c, const void *data,
		       size_t len)
{
	size_t n = sizeof(c->first) - c->n_first;

	n = n < len ? n : len;
	memcpy(c->first + c->n_first, data, n);
	c->n_first += n;
}

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	struct nng_tls_engine_conn *c = arg;
	int rv = nng_tls_engine_recv(c->stream, data, &len);

	if (rv == 0 && !c->done)
		note_first(c, data, len);
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
	c->failure.cause = REFUSALS;
	c->credentials = gate_credentials_hold();
	if (!c->credentials)
		return NNG_ECRYPTO;
	if (gnutls_init(&c->session, GNUTLS_SERVER | GNUTLS_NONBLOCK |
					     GNUTLS_NO_SIGNAL) < 0) {
		gate_credentials_rele(c->credentials);
		return NNG_ENOMEM;
	}
	gnutls_set_default_priority(c->session);
	gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE,
			       gate_credentials_cert(c->credentials));
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
	gate_credentials_rele(c->credentials);
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
	c->expires_s = (int64_t)gnutls_x509_crt_get_expiration_time(crt);
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

/* --- why a handshake failed --- */

static void say_certificate(struct nng_tls_engine_conn *c)
{
	unsigned status = gnutls_session_get_verify_cert_status(c->session);
	gnutls_datum_t text = { NULL, 0 };

	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509,
						     &text, 0);
	c->failure.cause = REFUSAL_CERTIFICATE;
	snprintf(c->failure.text, sizeof(c->failure.text), "%s",
		 text.data ? (const char *)text.data : "not valid");
	gnutls_free(text.data);
}

/* True: what came first is no record of TLS. */
static bool is_plain(const struct nng_tls_engine_conn *c)
{
	return c->n_first > 0 && c->first[0] != 0x16 && c->first[0] != 0x15;
}

static void say_why(struct nng_tls_engine_conn *c, int err)
{
	struct gate_tls_failure *f = &c->failure;

	f->cause = REFUSAL_TLS;
	if (is_plain(c)) {
		f->cause = REFUSAL_PLAIN;
		snprintf(f->text, sizeof(f->text), "%s",
			 memcmp(c->first, "\0SP", 3) == 0
				 ? "the peer does not use TLS: its agent needs "
				   "tls+tcp://"
				 : "the peer does not speak TLS");
	} else if (err == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
		say_certificate(c);
	} else if (err == GNUTLS_E_NO_CERTIFICATE_FOUND ||
		   err == GNUTLS_E_CERTIFICATE_REQUIRED) {
		f->cause = REFUSAL_NO_CERTIFICATE;
		snprintf(f->text, sizeof(f->text),
			 "the peer has no certificate: its agent needs "
			 "tls.cert_file and tls.key_file");
	} else if (err == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		const char *alert =
			gnutls_alert_get_name(gnutls_alert_get(c->session));

		snprintf(f->text, sizeof(f->text),
			 "the peer refused the aggregator's certificate or "
			 "parameters: %s",
			 alert ? alert : "unknown alert");
	} else {
		snprintf(f->text, sizeof(f->text), "%s", gnutls_strerror(err));
	}
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
	/* A peer that hangs up before it has said anything is no failure. */
	if (c->n_first > 0 && c->failure.cause == REFUSALS)
		say_why(c, err);
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
 * What is asked of a connection. nng_stream_get_bool() is the only way from a
 * stream to its connection; nng calls conn_verified() for it in the same
 * thread, so the question is passed in a thread variable and answered there.
 */
static __thread struct question {
	const char *name; /* is it one of the peer's? */
	struct gate_tls_failure *failure;
	int64_t *expires_s;
} * question;

static bool conn_verified(struct nng_tls_engine_conn *c)
{
	if (question && question->failure)
		*question->failure = c->failure;
	if (question && question->expires_s)
		*question->expires_s = c->expires_s;
	if (!question || !question->name || !c->done)
		return false;
	for (unsigned i = 0; i < c->n_names; i++)
		if (strcasecmp(c->name[i], question->name) == 0)
			return true;
	return false;
}

static bool ask(nng_stream *stream, struct question *q)
{
	bool is = false;

	question = q;
	if (nng_stream_get_bool(stream, NNG_OPT_TLS_VERIFIED, &is) != 0)
		is = false;
	question = NULL;
	return is;
}

bool gate_tls_peer_is(nng_stream *stream, const char *name)
{
	struct question q = { .name = name };

	return ask(stream, &q);
}

int64_t gate_tls_peer_expires(nng_stream *stream)
{
	int64_t expires_s = 0;
	struct question q = { .expires_s = &expires_s };

	ask(stream, &q);
	return expires_s;
}

void gate_tls_why(nng_stream *stream, struct gate_tls_failure *out)
{
	struct question q = { .failure = out };

	out->cause = REFUSALS;
	ask(stream, &q);
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
	static bool registered;
	int err = gate_credentials_use(files);

	if (!err && !registered) {
		nng_tls_config *any;

		/* nng registers its own on first use; the last one wins. */
		if (nng_tls_config_alloc(&any, NNG_TLS_MODE_SERVER) == 0)
			nng_tls_config_free(any);
		err = nng_tls_engine_register(&engine) == 0 ? 0 : -EINVAL;
		registered = !err;
	}
	return err;
}
