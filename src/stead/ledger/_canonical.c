/* The twin of stead.ledger.canonical, which is the reference (docs/adr/0100).
 *
 * It writes the one form of a record whose fields are what they are meant to be: exact
 * texts, tuples and values of the model. Of anything else (text that UTF-8 cannot hold,
 * numbers beyond 64 bits, a body that is too large, strange types) it says None, and
 * Python answers. It runs no Python code in the middle: what it borrows stays, since the
 * interpreter's lock is held throughout.
 */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 65536, SMALL = 2048, MOST_DETAILS = 32, SID_HEAD = 8, MOST_PARTS = 15 };

/* Not written: Python has to; or an error is set. */
enum { WRITTEN = 0, STRANGE = 1, FAILED = -1 };

/* The fields, in the order in which the form has them. */
enum {
    CHAIN, CLIENT, CORRELATION, DESIRED, DETAIL, EVENT, GATE, GRANTED, OBJECT_NAME,
    OBJECT_TYPE, OPERATION, OUTCOME, PEER, PRIVILEGES, REASONS, SERVER, STATUS, TIME,
    SID, NAME, LOGON_ID, NAMES
};
static const char *const spelled[NAMES] = {
    "chain", "client", "correlation", "desired", "detail", "event", "gate", "granted",
    "object_name", "object_type", "operation", "outcome", "peer", "privileges",
    "reasons", "server", "status", "time", "sid", "name", "logon_id",
};

/* What Python connects, in this order. */
enum { A_RECORD, A_PRINCIPAL, A_SID, AN_EVENT, SUCCESS, FAILURE, CONNECTED };

typedef struct {
    PyObject *of[CONNECTED], *name[NAMES];
} State;

typedef struct {
    State *my;
    char *start;
    size_t size, room;
    char small[SMALL];
} Out;

/* --- bytes ---------------------------------------------------------------------------- */

static int make_room(Out *out, size_t more)
{
    if (out->room - out->size >= more)
        return WRITTEN;
    if (out->size + more > 8 * LARGEST)
        return STRANGE;
    size_t room = 2 * (out->size + more);
    char *start = out->start == out->small ? malloc(room) : realloc(out->start, room);
    if (!start) {
        PyErr_NoMemory();
        return FAILED;
    }
    if (out->start == out->small)
        memcpy(start, out->small, out->size);
    out->start = start;
    out->room = room;
    return WRITTEN;
}

static int put(Out *out, const char *bytes, size_t size)
{
    int what = make_room(out, size);
    if (what == WRITTEN) {
        memcpy(out->start + out->size, bytes, size);
        out->size += size;
    }
    return what;
}

#define PUT(out, text) put(out, text, sizeof(text) - 1)

/* Write a number's digits so that they end before `end`; return where they begin. */
static char *digits_of(char *end, unsigned long long number, unsigned base)
{
    do
        *--end = "0123456789abcdef"[number % base];
    while (number /= base);
    return end;
}

static int put_number(Out *out, long long number)
{
    char digits[24], *end = digits + sizeof digits;
    unsigned long long size = (unsigned long long)number;
    char *at = digits_of(end, number < 0 ? 0 - size : size, 10);
    if (number < 0)
        *--at = '-';
    return put(out, at, (size_t)(end - at));
}

/* Room is there: six bytes for each byte of the text, and two. */
static void put_escaped(Out *out, const unsigned char *text, Py_ssize_t size)
{
    static const char hex[] = "0123456789abcdef";
    char *at = out->start + out->size;
    *at++ = '"';
    for (Py_ssize_t i = 0; i < size; i++) {
        unsigned char c = text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *at++ = (char)c;
            continue;
        }
        *at++ = '\\';
        switch (c) {
        case '"':
        case '\\': *at++ = (char)c; break;
        case '\b': *at++ = 'b'; break;
        case '\f': *at++ = 'f'; break;
        case '\n': *at++ = 'n'; break;
        case '\r': *at++ = 'r'; break;
        case '\t': *at++ = 't'; break;
        default:
            memcpy(at, "u00", 3);
            at[3] = hex[c >> 4];
            at[4] = hex[c & 15];
            at += 5;
        }
    }
    *at++ = '"';
    out->size = (size_t)(at - out->start);
}

static int put_bytes_of_text(Out *out, const char *text, Py_ssize_t size)
{
    if (size > LARGEST)
        return STRANGE;
    int what = make_room(out, 6 * (size_t)size + 2);
    if (what == WRITTEN)
        put_escaped(out, (const unsigned char *)text, size);
    return what;
}

/* --- values --------------------------------------------------------------------------- */

/* Borrow a text's UTF-8. */
static int read_text(PyObject *text, const char **bytes, Py_ssize_t *size)
{
    if (!PyUnicode_CheckExact(text))
        return STRANGE;
    *bytes = PyUnicode_AsUTF8AndSize(text, size);
    if (*bytes)
        return WRITTEN;
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return FAILED;
    PyErr_Clear();
    return STRANGE;
}

static int put_text(Out *out, PyObject *text)
{
    const char *bytes;
    Py_ssize_t size;
    int what = read_text(text, &bytes, &size);
    return what == WRITTEN ? put_bytes_of_text(out, bytes, size) : what;
}

static int read_number(PyObject *number, long long *value)
{
    int overflow;
    if (!PyLong_Check(number))
        return STRANGE;
    *value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return overflow ? STRANGE : WRITTEN;
}

static int put_sid(Out *out, PyObject *sid)
{
    if ((PyObject *)Py_TYPE(sid) != out->my->of[A_SID])
        return STRANGE;
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(sid, &data, &size))
        return FAILED;
    const unsigned char *at = (const unsigned char *)data;
    if (size < SID_HEAD || at[1] > MOST_PARTS || size != SID_HEAD + 4 * at[1])
        return STRANGE;
    unsigned long long authority = 0;
    for (int i = 2; i < SID_HEAD; i++)
        authority = authority << 8 | at[i];
    /* From the end on: that is how digits come. */
    char text[32 + 11 * MOST_PARTS], *end = text + sizeof text, *place = end;
    *--place = '"';
    for (const unsigned char *part = at + size; part > at + SID_HEAD;) {
        part -= 4;
        unsigned long value = part[0] | (unsigned long)part[1] << 8
                              | (unsigned long)part[2] << 16 | (unsigned long)part[3] << 24;
        place = digits_of(place, value, 10);
        *--place = '-';
    }
    int is_large = authority >> 32 != 0;
    place = digits_of(place, authority, is_large ? 16 : 10);
    const char *head = is_large ? "\"S-1-0x" : "\"S-1-";
    place -= strlen(head);
    memcpy(place, head, strlen(head));
    return put(out, place, (size_t)(end - place));
}

static int put_logon_id(Out *out, PyObject *number)
{
    if (!PyLong_Check(number))
        return STRANGE;
    char digits[24];
    unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) {
        PyErr_Clear(); /* below zero, or beyond 64 bits */
        return STRANGE;
    }
    char *end = digits + sizeof digits, *at = digits_of(end, value, 10);
    return put(out, at, (size_t)(end - at));
}

typedef int (*Put)(Out *, PyObject *);

/* Write a field of a value of the model, whose fields are slots. */
static int put_field(Out *out, PyObject *of, int name, Put write)
{
    PyObject *value = PyObject_GetAttr(of, out->my->name[name]);
    if (!value) { /* a slot that holds nothing: Python says so */
        PyErr_Clear();
        return STRANGE;
    }
    int what = write(out, value);
    Py_DECREF(value);
    return what;
}

static int put_principal(Out *out, PyObject *who)
{
    if ((PyObject *)Py_TYPE(who) != out->my->of[A_PRINCIPAL])
        return STRANGE;
    int what;
    if ((what = PUT(out, "[")) || (what = put_field(out, who, SID, put_sid))
        || (what = PUT(out, ",")) || (what = put_field(out, who, NAME, put_text))
        || (what = PUT(out, ",")) || (what = put_field(out, who, LOGON_ID, put_logon_id)))
        return what;
    return PUT(out, "]");
}

/* --- fields, left out where they hold nothing ----------------------------------------- */

static int put_key(Out *out, int field)
{
    int what = out->size > 1 ? PUT(out, ",\"") : PUT(out, "\"");
    if (!what)
        what = put(out, spelled[field], strlen(spelled[field]));
    return what ? what : PUT(out, "\":");
}

static int text_field(Out *out, int field, PyObject *value)
{
    const char *bytes;
    Py_ssize_t size;
    int what = read_text(value, &bytes, &size);
    if (what || !size)
        return what;
    what = put_key(out, field);
    return what ? what : put_bytes_of_text(out, bytes, size);
}

static int number_field(Out *out, int field, PyObject *value)
{
    long long number;
    int what = read_number(value, &number);
    if (what || !number)
        return what;
    what = put_key(out, field);
    return what ? what : put_number(out, number);
}

static int list_field(Out *out, int field, PyObject *value, Put write)
{
    if (!PyTuple_CheckExact(value))
        return STRANGE;
    Py_ssize_t count = PyTuple_Size(value);
    if (!count)
        return WRITTEN;
    int what = put_key(out, field);
    for (Py_ssize_t i = 0; i < count && !what; i++) {
        what = i ? PUT(out, ",") : PUT(out, "[");
        if (!what)
            what = write(out, PyTuple_GetItem(value, i));
    }
    return what ? what : PUT(out, "]");
}

typedef struct {
    const char *key, *text;
    Py_ssize_t key_size, text_size;
} Pair;

/* In UTF-8, bytes sort as the characters do. */
static int comes_before(const Pair *one, const Pair *other)
{
    Py_ssize_t size = one->key_size < other->key_size ? one->key_size : other->key_size;
    int order = memcmp(one->key, other->key, (size_t)size);
    return order ? order < 0 : one->key_size < other->key_size;
}

static int read_pairs(PyObject *detail, Pair *pairs, int *count)
{
    PyObject *key, *text;
    Py_ssize_t at = 0;
    while (PyDict_Next(detail, &at, &key, &text)) {
        Pair pair;
        int what = read_text(key, &pair.key, &pair.key_size);
        if (!what)
            what = read_text(text, &pair.text, &pair.text_size);
        if (what)
            return what;
        int place = (*count)++;
        for (; place && comes_before(&pair, &pairs[place - 1]); place--)
            pairs[place] = pairs[place - 1];
        pairs[place] = pair;
    }
    return WRITTEN;
}

static int detail_field(Out *out, PyObject *detail)
{
    Pair pairs[MOST_DETAILS];
    int count = 0;
    if (!PyDict_CheckExact(detail) || PyDict_Size(detail) > MOST_DETAILS)
        return STRANGE;
    int what = read_pairs(detail, pairs, &count);
    if (what || !count)
        return what;
    what = put_key(out, DETAIL);
    for (int i = 0; i < count && !what; i++)
        if (!(what = i ? PUT(out, ",[") : PUT(out, "[["))
            && !(what = put_bytes_of_text(out, pairs[i].key, pairs[i].key_size))
            && !(what = PUT(out, ","))
            && !(what = put_bytes_of_text(out, pairs[i].text, pairs[i].text_size)))
            what = PUT(out, "]");
    return what ? what : PUT(out, "]");
}

static int event_field(Out *out, PyObject *event)
{
    long long number;
    if ((PyObject *)Py_TYPE(event) != out->my->of[AN_EVENT])
        return STRANGE;
    int what = read_number(event, &number);
    if (what || (what = put_key(out, EVENT)) || (what = put_number(out, number)))
        return what;
    return PUT(out, ",\"format\":1");
}

static int outcome_field(Out *out, PyObject *outcome)
{
    if (outcome == out->my->of[SUCCESS])
        return PUT(out, ",\"outcome\":\"success\"");
    if (outcome == out->my->of[FAILURE])
        return PUT(out, ",\"outcome\":\"failure\"");
    return STRANGE;
}

static int who_field(Out *out, int field, PyObject *who)
{
    int what = put_key(out, field);
    return what ? what : put_principal(out, who);
}

static int field_of(Out *out, int field, PyObject *value)
{
    switch (field) {
    case CHAIN: return list_field(out, field, value, put_principal);
    case CLIENT: return value == Py_None ? WRITTEN : who_field(out, field, value);
    case SERVER: return who_field(out, field, value);
    case PRIVILEGES:
    case REASONS: return list_field(out, field, value, put_text);
    case DETAIL: return detail_field(out, value);
    case EVENT: return event_field(out, value);
    case OUTCOME: return outcome_field(out, value);
    case DESIRED:
    case GRANTED:
    case STATUS:
    case TIME: return number_field(out, field, value);
    default: return text_field(out, field, value);
    }
}

static int put_record(Out *out, PyObject *record)
{
    int what = PUT(out, "{");
    for (int field = CHAIN; field <= TIME && !what; field++) {
        PyObject *value = PyObject_GetAttr(record, out->my->name[field]);
        if (!value) {
            PyErr_Clear();
            return STRANGE;
        }
        what = field_of(out, field, value);
        Py_DECREF(value);
    }
    return what ? what : PUT(out, "}");
}

/* --- the module ----------------------------------------------------------------------- */

static PyObject *write_plain(PyObject *mine, PyObject *record)
{
    Out out;
    out.my = PyModule_GetState(mine);
    out.start = out.small;
    out.size = 0;
    out.room = SMALL;
    int what = STRANGE;
    if ((PyObject *)Py_TYPE(record) == out.my->of[A_RECORD])
        what = put_record(&out, record);
    PyObject *body = NULL;
    if (what == WRITTEN && out.size <= LARGEST)
        body = PyBytes_FromStringAndSize(out.start, (Py_ssize_t)out.size);
    else if (what != FAILED)
        body = Py_NewRef(Py_None);
    if (out.start != out.small)
        free(out.start);
    return body;
}

static PyObject *connect(PyObject *mine, PyObject *args)
{
    State *my = PyModule_GetState(mine);
    PyObject *given[CONNECTED];
    if (!PyArg_ParseTuple(args, "OOOOOO", &given[0], &given[1], &given[2], &given[3],
                          &given[4], &given[5]))
        return NULL;
    for (int i = 0; i < CONNECTED; i++) {
        PyObject *old = my->of[i];
        my->of[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"write_plain", write_plain, METH_O, "Return the form of a plain record, or None."},
    {"connect", connect, METH_VARARGS, "Take the types, in the order of the C."},
    {NULL, NULL, 0, NULL},
};

/* Its state lives as long as the process. */
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_canonical", "The twin of canonical.", sizeof(State), methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__canonical(void)
{
    PyObject *mine = PyModule_Create(&module);
    State *my = mine ? PyModule_GetState(mine) : NULL;
    if (!my)
        return NULL;
    for (int i = 0; i < NAMES; i++)
        if (!(my->name[i] = PyUnicode_InternFromString(spelled[i])))
            return NULL;
    for (int i = 0; i < CONNECTED; i++)
        my->of[i] = Py_NewRef(Py_None);
    return mine;
}
