/* The twin of what stead.ledger.chain and stead.ledger.tree hash for each record, which
 * are the reference (docs/adr/0113).
 *
 * To call hashlib costs more than the hash does. So this calls the library that hashlib
 * calls, OpenSSL's libcrypto, without what lies between. It is looked for when the module
 * is imported; where it is not to be had, the module cannot be imported, and Python
 * answers with hashlib.
 */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>

enum { HASH = 32, LABEL = 22, LINK = LABEL + 8 + HASH, MOST_PEAKS = 63 };
static const char label[LABEL + 1] = "stead ledger record 1"; /* and its zero */

/* --- SHA-256, by OpenSSL 3 (EVP_DigestInit(3), EVP_MD_fetch(3)) ------------------------ */

typedef struct evp_md_st Md;
typedef struct evp_md_ctx_st MdContext;

static struct {
    Md *(*fetch)(void *library, const char *algorithm, const char *properties);
    MdContext *(*new)(void);
    int (*init)(MdContext *context, const Md *kind, const void *parameters);
    int (*update)(MdContext *context, const void *data, size_t size);
    int (*final)(MdContext *context, unsigned char *hash, unsigned int *size);
} crypto;

static Md *kind;
static MdContext *context; /* the interpreter's lock is held whenever it is used */

static int find_library(void)
{
#ifdef __APPLE__
    void *library = dlopen("libcrypto.3.dylib", RTLD_NOW | RTLD_LOCAL);
#else
    void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
#endif
    if (!library)
        return 0;
    *(void **)&crypto.fetch = dlsym(library, "EVP_MD_fetch");
    *(void **)&crypto.new = dlsym(library, "EVP_MD_CTX_new");
    *(void **)&crypto.init = dlsym(library, "EVP_DigestInit_ex2");
    *(void **)&crypto.update = dlsym(library, "EVP_DigestUpdate");
    *(void **)&crypto.final = dlsym(library, "EVP_DigestFinal_ex");
    return crypto.fetch && crypto.new && crypto.init && crypto.update && crypto.final;
}

static void put_word(unsigned char *at, uint32_t word)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(word >> (24 - 8 * i));
}

/* Hash a head, and what follows it. `hash` may be in the head. */
static int hash_of(unsigned char *hash, const unsigned char *head, size_t head_size,
                   const unsigned char *rest, size_t size)
{
    unsigned int length = 0;
    if (crypto.init(context, kind, NULL) && crypto.update(context, head, head_size)
        && crypto.update(context, rest, size) && crypto.final(context, hash, &length)
        && length == HASH)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "libcrypto could not hash");
    return -1;
}

/* Tell whether it hashes nothing at all as FIPS 180-4 does: what a broken library hashes
 * would stand in the trail for good, and verify as nothing (NIST's example, 0 bits). */
static int is_right(void)
{
    static const unsigned char expected[HASH] = {
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
        0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
        0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    };
    unsigned char found[HASH] = {0};
    return !hash_of(found, found, 0, found, 0) && !memcmp(found, expected, HASH);
}

static int is_ready(void)
{
    if (context)
        return 1; /* another interpreter of this process has done it */
    if (!find_library() || !(kind = crypto.fetch(NULL, "SHA256", NULL))
        || !(context = crypto.new()))
        return 0;
    if (!is_right())
        context = NULL; /* nor shall it be used by whoever asks again */
    return context != NULL;
}

/* --- the chain and the tree ----------------------------------------------------------- */

static int read_bytes(PyObject *value, const unsigned char **at, Py_ssize_t *size)
{
    char *data;
    if (PyBytes_AsStringAndSize(value, &data, size))
        return -1;
    *at = (const unsigned char *)data;
    return 0;
}

static int read_hash(PyObject *value, unsigned char *hash)
{
    const unsigned char *at;
    Py_ssize_t size;
    if (read_bytes(value, &at, &size))
        return -1;
    if (size != HASH) {
        PyErr_SetString(PyExc_ValueError, "a hash has 32 bytes");
        return -1;
    }
    memcpy(hash, at, HASH);
    return 0;
}

static PyObject *hash_object(const unsigned char *hash)
{
    return PyBytes_FromStringAndSize((const char *)hash, HASH);
}

/* digests(sequence, digest, bodies): those of the bodies, each chained to the one before;
 * `sequence` and `digest` are the last entry's. */
static PyObject *digests(PyObject *mine, PyObject *args)
{
    (void)mine;
    unsigned long long sequence;
    PyObject *before, *bodies;
    unsigned char head[LINK];
    if (!PyArg_ParseTuple(args, "KO!O!", &sequence, &PyBytes_Type, &before, &PyList_Type,
                          &bodies)
        || read_hash(before, head + LABEL + 8))
        return NULL;
    memcpy(head, label, LABEL);
    Py_ssize_t count = PyList_Size(bodies);
    PyObject *found = PyList_New(count);
    for (Py_ssize_t i = 0; found && i < count; i++) {
        const unsigned char *body;
        Py_ssize_t size;
        PyObject *digest = NULL;
        sequence++;
        put_word(head + LABEL, (uint32_t)(sequence >> 32));
        put_word(head + LABEL + 4, (uint32_t)sequence);
        if (!read_bytes(PyList_GetItem(bodies, i), &body, &size)
            && !hash_of(head + LABEL + 8, head, LINK, body, (size_t)size))
            digest = hash_object(head + LABEL + 8);
        if (!digest || PyList_SetItem(found, i, digest))
            Py_CLEAR(found);
    }
    return found;
}

/* A right edge as it is kept: the size, and the peaks, of which there is one for each bit
 * of the size; and room for the leaf that is being added. */
typedef struct {
    unsigned char size[8], peaks[MOST_PEAKS + 1][HASH];
} Edge;

static int read_edge(PyObject *given, Edge *edge, uint64_t *size)
{
    const unsigned char *at;
    Py_ssize_t length;
    if (read_bytes(given, &at, &length))
        return -1;
    *size = 0;
    for (int i = 0; i < 8 && length >= 8; i++)
        *size = *size << 8 | at[i];
    int count = __builtin_popcountll(*size);
    if (*size >> 63 || length != 8 + count * HASH) {
        PyErr_SetString(PyExc_ValueError, "the bytes are no right edge of a tree");
        return -1;
    }
    memcpy(edge, at, (size_t)length);
    return count;
}

/* Put a leaf behind `count` peaks, and fold what is full; return how many there are, or
 * -1 with an error. */
static int add_leaf(unsigned char (*peaks)[HASH], int count, uint64_t size,
                    const unsigned char *body, size_t length)
{
    if (hash_of(peaks[count], (const unsigned char *)"\0", 1, body, length))
        return -1;
    for (; size & 1; size >>= 1, count--) {
        unsigned char node[1 + HASH] = {1};
        memcpy(node + 1, peaks[count - 1], HASH);
        if (hash_of(peaks[count - 1], node, sizeof node, peaks[count], HASH))
            return -1;
    }
    return count + 1;
}

/* grown(edge, bodies): the right edge of the tree with the bodies' leaves as well. */
static PyObject *grown(PyObject *mine, PyObject *args)
{
    (void)mine;
    PyObject *given, *bodies;
    Edge edge;
    uint64_t size;
    if (!PyArg_ParseTuple(args, "OO!", &given, &PyList_Type, &bodies))
        return NULL;
    int count = read_edge(given, &edge, &size);
    if (count < 0)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_Size(bodies); i++, size++) {
        const unsigned char *body;
        Py_ssize_t length;
        if (read_bytes(PyList_GetItem(bodies, i), &body, &length))
            return NULL;
        count = add_leaf(edge.peaks, count, size, body, (size_t)length);
        if (count < 0)
            return NULL;
    }
    put_word(edge.size, (uint32_t)(size >> 32));
    put_word(edge.size + 4, (uint32_t)size);
    return PyBytes_FromStringAndSize((const char *)&edge, 8 + count * HASH);
}

static PyMethodDef methods[] = {
    {"digests", digests, METH_VARARGS, "Return the digests of bodies in the chain."},
    {"grown", grown, METH_VARARGS, "Return the edge of a tree with bodies added."},
    {NULL, NULL, 0, NULL},
};
#else
static int is_ready(void)
{
    return 0;
}

static PyMethodDef methods[] = {{NULL, NULL, 0, NULL}};
#endif

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_sealing", "The twin of chain and tree.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sealing(void)
{
    if (is_ready())
        return PyModule_Create(&module);
    PyErr_SetString(PyExc_ImportError, "OpenSSL 3 is not to be had");
    return NULL;
}
