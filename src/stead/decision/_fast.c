/* The twin of stead.decision.plain_list, which is the reference (docs/adr/0004, 0042).
 *
 * No rule stands here that does not stand there; tests compare both at random. It sees
 * values that were checked when they were made, never bytes of strangers. All of it
 * relies on the interpreter's lock: the module says nothing of free threading, so an
 * interpreter that runs without the lock takes it back before it loads this.
 */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define OWNERS_RIGHTS 0x00060000u   /* READ_CONTROL, WRITE_DAC */
#define BY_ENTRIES 0x0CFFFFFFu      /* not generic, nor the SACL, nor the maximum */
#define NAMED 0x0DFFFFFFu           /* what may be asked for without more thought */
#define MAXIMUM_ALLOWED 0x02000000u /* in `settle`: refused, whatever comes later */
#define SHORT 32u                   /* so many entries are looked at one by one */
#define MOST_ENTRIES 4096           /* 64 KiB hold fewer */
#define NOT_PLAIN (-1)
#define FAILED (-2)
enum { IS_PLAIN = 1, IS_TOKEN = 2, OWNER_SPEAKS = 4, IS_GENERIC = 8 };

/* --- what is kept of a descriptor or of a token ------------------------------------ */

typedef struct {
    Py_hash_t hash;
    PyObject *sid;
    uint32_t mask;
    uint32_t next : 31; /* one more than the place of the SID's next item, or 0 */
    uint32_t flag : 1;  /* an entry's: it grants; a token's SID's: it is enabled */
} Item;

typedef struct {
    PyObject_HEAD
    Item *items;                    /* entries in their order, or a token's SIDs */
    uint32_t *slots;                /* by hash: one more than an item's place, or 0 */
    uint32_t count, wrap, flags, by_privilege;
    Item owner;                     /* a descriptor's */
    PyObject *asker, *kind;         /* the last answer, */
    uint32_t granted;               /* for a token and a mapping */
} Kept;

typedef struct {
    PyTypeObject *kept;
    PyObject *prepare, *judge, *kept_index, *kept_standing, *generic[4];
} State;

static int same(const Item *a, const Item *b)
{
    if (a->hash != b->hash || a->sid == b->sid)
        return a->hash == b->hash;
    Py_ssize_t size = PyBytes_Size(a->sid);
    return size == PyBytes_Size(b->sid)
           && !memcmp(PyBytes_AsString(a->sid), PyBytes_AsString(b->sid), (size_t)size);
}

static uint32_t *slot_of(const Kept *in, const Item *item)
{
    uint32_t at = (uint32_t)item->hash & in->wrap;
    while (in->slots[at] && !same(&in->items[in->slots[at] - 1], item))
        at = (at + 1) & in->wrap;
    return &in->slots[at];
}

static const Item *item_at(const Kept *in, uint32_t place)
{
    return place ? &in->items[place - 1] : NULL;
}

static const Item *find(const Kept *in, const Item *item)
{
    return item_at(in, *slot_of(in, item));
}

static int take_sid(Item *item, PyObject *sid)
{
    item->hash = PyObject_Hash(sid);
    item->sid = Py_NewRef(sid);
    return item->hash == -1 ? -1 : 0;
}

/* Take triples of a SID, a mask and a flag. */
static int take_items(Kept *self, PyObject *triples)
{
    Py_ssize_t count = PyTuple_Size(triples);
    self->items = PyMem_Calloc((size_t)count + 1, sizeof(Item));
    if (!self->items || count > INT32_MAX / 8)
        return PyErr_NoMemory(), -1;
    for (; self->count < count; self->count++) {
        Item *item = &self->items[self->count];
        PyObject *sid;
        unsigned int mask;
        int flag;
        PyObject *triple = PyTuple_GetItem(triples, self->count);
        if (!triple || !PyTuple_Check(triple))
            return PyErr_SetString(PyExc_TypeError, "triples are tuples"), -1;
        if (!PyArg_ParseTuple(triple, "O!Ip", &PyBytes_Type, &sid, &mask, &flag))
            return -1;
        item->mask = mask;
        item->flag = flag != 0;
        if (take_sid(item, sid) < 0)
            return -1;
    }
    return 0;
}

/* Make SIDs be found by their hash; of equal ones the first, which leads on. */
static int make_slots(Kept *self)
{
    uint32_t size = 8;
    while (size < 2 * self->count)
        size *= 2;
    self->slots = PyMem_Calloc(size, sizeof(uint32_t));
    if (!self->slots)
        return PyErr_NoMemory(), -1;
    self->wrap = size - 1;
    for (uint32_t place = self->count; place; place--) {
        uint32_t *slot = slot_of(self, &self->items[place - 1]);
        self->items[place - 1].next = *slot & INT32_MAX;
        *slot = place;
    }
    return 0;
}

static PyObject *kept_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(named))
{
    PyObject *triples, *owner;
    unsigned int flags, by_privilege;
    if (!PyArg_ParseTuple(args, "O!OII", &PyTuple_Type, &triples, &owner, &flags,
                          &by_privilege))
        return NULL;
    int of_token = (flags & IS_TOKEN) != 0;
    if (!of_token && (PyTuple_Size(triples) > MOST_ENTRIES
                      || (flags & IS_PLAIN && !PyBytes_Check(owner))))
        return PyErr_SetString(PyExc_ValueError, "no descriptor is like that"), NULL;
    Kept *self = (Kept *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self)
        return NULL;
    self->flags = flags;
    self->by_privilege = by_privilege;
    if (take_sid(&self->owner, owner) < 0 || take_items(self, triples) < 0
        || ((of_token || self->count > SHORT) && make_slots(self) < 0))
        return Py_DECREF(self), NULL;
    return (PyObject *)self;
}

static int kept_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((Kept *)self)->asker);
    Py_VISIT(((Kept *)self)->kind);
    return 0;
}

static int kept_clear(PyObject *self)
{
    Py_CLEAR(((Kept *)self)->asker);
    Py_CLEAR(((Kept *)self)->kind);
    return 0;
}

static void kept_dealloc(PyObject *object)
{
    Kept *self = (Kept *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    kept_clear(object);
    for (uint32_t i = 0; i < self->count; i++)
        Py_DECREF(self->items[i].sid);
    Py_XDECREF(self->owner.sid);
    PyMem_Free(self->items);
    PyMem_Free(self->slots);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static void keep(Kept *self, PyObject *token, PyObject *kind, uint32_t granted)
{
    PyObject *old_token = self->asker, *old_kind = self->kind;
    self->asker = Py_NewRef(token);
    self->kind = Py_NewRef(kind);
    self->granted = granted;
    Py_XDECREF(old_token); /* after all is in place: it may run anything */
    Py_XDECREF(old_kind);
}

static PyObject *kept_keep(PyObject *self, PyObject *args)
{
    PyObject *token, *kind;
    unsigned int granted;
    if (!PyArg_ParseTuple(args, "OOI", &token, &kind, &granted))
        return NULL;
    keep((Kept *)self, token, kind, granted);
    return Py_NewRef(Py_None);
}

/* A copy of what keeps this keeps nothing yet. */
static PyObject *kept_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none))
{
    return Py_BuildValue("(N())", PyObject_Type(Py_None));
}

static PyMethodDef kept_methods[] = {
    {"keep", kept_keep, METH_VARARGS, "Keep the last answer."},
    {"__reduce__", kept_reduce, METH_NOARGS, "Stay behind."}, {0}};
static PyType_Slot kept_slots[] = {
    {Py_tp_doc, "What is kept of a descriptor or of a token."},
    {Py_tp_new, kept_new}, {Py_tp_dealloc, kept_dealloc}, {Py_tp_clear, kept_clear},
    {Py_tp_traverse, kept_traverse}, {Py_tp_methods, kept_methods}, {0}};
static PyType_Spec kept_spec = {
    "stead.decision._fast.Kept", sizeof(Kept), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, kept_slots};

/* --- the walk over a plain list ---------------------------------------------------- */

typedef struct {
    uint32_t granted, undecided, is_generic, generic[4]; /* generic: read first */
} Walk;

static void step(Walk *walk, const Item *entry, const Item *held)
{
    uint32_t mask = entry->mask;
    if (entry->flag && !held->flag)
        return; /* a SID that is there for deny entries only */
    if (walk->is_generic && mask >> 28) {
        for (int i = 0; i < 4; i++)
            if (entry->mask & 0x80000000u >> i)
                mask |= walk->generic[i];
        mask &= 0x0FFFFFFFu;
    }
    if (entry->flag)
        walk->granted |= mask & walk->undecided;
    walk->undecided &= ~mask;
}

static void walk_short(Walk *walk, const Kept *list, const Kept *token)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const Item *held = find(token, &list->items[i]);
        if (held)
            step(walk, &list->items[i], held);
    }
}

/* Of a long list, mark the entries that are about the token, then look at those. */
static void walk_long(Walk *walk, const Kept *list, const Kept *token)
{
    uint64_t marked[MOST_ENTRIES / 64] = {0};
    for (uint32_t i = 0; i < token->count; i++) {
        const Item *entry = find(list, &token->items[i]);
        for (; entry; entry = item_at(list, entry->next)) {
            size_t at = (size_t)(entry - list->items);
            marked[at / 64] |= (uint64_t)1 << at % 64;
        }
    }
    for (uint32_t word = 0; word < (list->count + 63) / 64; word++)
        for (uint64_t left = marked[word]; left; left &= left - 1) {
            const Item *entry = &list->items[word * 64 + (uint32_t)__builtin_ctzll(left)];
            step(walk, entry, find(token, entry));
        }
}

/* Return what is kept of a value, after having it prepared if need be; NULL with no
 * error where Python keeps something else. */
static Kept *kept_of(State *state, PyObject *value, PyObject *name, uint32_t is_token)
{
    PyObject *kept = PyObject_GetAttr(value, name);
    if (kept == Py_None) {
        PyObject *done = PyObject_CallFunctionObjArgs(state->prepare, value, NULL);
        Py_DECREF(kept);
        kept = done ? PyObject_GetAttr(value, name) : NULL;
        Py_XDECREF(done);
    }
    if (kept && Py_TYPE(kept) == state->kept
        && (((Kept *)kept)->flags & IS_TOKEN) == is_token)
        return (Kept *)kept;
    Py_XDECREF(kept);
    return NULL;
}

static int64_t judge_plain(State *state, const Kept *list, const Kept *token,
                           PyObject *mapping)
{
    Walk walk = {0, BY_ENTRIES, list->flags & IS_GENERIC, {0}};
    if (!(list->flags & token->flags & IS_PLAIN))
        return NOT_PLAIN;
    const Item *owner = find(token, &list->owner);
    if (owner && list->flags & OWNER_SPEAKS)
        return NOT_PLAIN;
    if (owner && owner->flag) {
        walk.granted = OWNERS_RIGHTS;
        walk.undecided &= ~OWNERS_RIGHTS;
    }
    for (int i = 0; i < 4 && walk.is_generic; i++) {
        PyObject *mask = PyObject_GetAttr(mapping, state->generic[i]);
        walk.generic[i] = mask ? (uint32_t)PyLong_AsUnsignedLong(mask) : 0;
        Py_XDECREF(mask);
        if (PyErr_Occurred())
            return FAILED;
    }
    (list->slots ? walk_long : walk_short)(&walk, list, token);
    return walk.granted | token->by_privilege;
}

/* Return all rights that are granted to whoever names them, NOT_PLAIN or FAILED. */
static int64_t rights_of(State *state, PyObject *const *asked, PyObject *mapping,
                         int use_answer)
{
    int64_t granted;
    Kept *list = kept_of(state, asked[1], state->kept_index, 0), *token = NULL;
    if (list && use_answer && list->asker == asked[0] && list->kind == mapping)
        granted = list->granted;
    else if (list && (token = kept_of(state, asked[0], state->kept_standing, IS_TOKEN)))
        granted = judge_plain(state, list, token, mapping);
    else
        granted = PyErr_Occurred() ? FAILED : NOT_PLAIN;
    if (use_answer && token && granted >= 0)
        keep(list, asked[0], mapping, (uint32_t)granted);
    Py_XDECREF((PyObject *)token);
    Py_XDECREF((PyObject *)list);
    return granted;
}

static PyObject *plain_mask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !((State *)PyModule_GetState(module))->prepare)
        return PyErr_SetString(PyExc_TypeError, "plain_mask takes 3 arguments"), NULL;
    int64_t granted = rights_of(PyModule_GetState(module), args, args[2], 0);
    if (granted == NOT_PLAIN)
        return Py_NewRef(Py_None);
    return granted == FAILED ? NULL : PyLong_FromLongLong(granted);
}

static PyObject *is_granted(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = PyModule_GetState(module);
    int64_t granted = NOT_PLAIN;
    long long desired = 0;
    int overflow = 0;
    if (count != 4 || !state->judge)
        return PyErr_SetString(PyExc_TypeError, "is_granted takes 4 arguments"), NULL;
    if (PyLong_Check(args[2]))
        desired = PyLong_AsLongLongAndOverflow(args[2], &overflow);
    if (!overflow && desired > 0 && !(desired & ~(long long)NAMED))
        granted = rights_of(state, args, args[3], 1);
    if (granted == NOT_PLAIN)
        return PyObject_CallFunctionObjArgs(state->judge, args[0], args[1], args[2],
                                            args[3], NULL);
    return granted == FAILED ? NULL : PyBool_FromLong(!(desired & ~granted));
}

/* --- many descriptors at once ------------------------------------------------------ */

/* Grant or deny rights at some places, of those that are missing there. */
static PyObject *settle(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer missing, places;
    unsigned int bits;
    int grants;
    if (!PyArg_ParseTuple(args, "w*y*Ip", &missing, &places, &bits, &grants))
        return NULL;
    uint32_t *left = missing.buf, count = (uint32_t)(missing.len / 4);
    const uint32_t *place = places.buf, *end = place + places.len / 4;
    for (; place < end; place++)
        if (*place < count && grants)
            left[*place] &= ~bits;
        else if (*place < count && left[*place] & bits)
            left[*place] |= MAXIMUM_ALLOWED;
    PyBuffer_Release(&missing);
    PyBuffer_Release(&places);
    return Py_NewRef(Py_None);
}

/* Tell of each place whether nothing is missing there. */
static PyObject *answers(PyObject *Py_UNUSED(module), PyObject *missing)
{
    Py_buffer view;
    if (PyObject_GetBuffer(missing, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *all = PyList_New(view.len / 4);
    for (Py_ssize_t i = 0; all && i < view.len / 4; i++)
        PyList_SetItem(all, i, PyBool_FromLong(!((const uint32_t *)view.buf)[i]));
    PyBuffer_Release(&view);
    return all;
}

/* --- the module -------------------------------------------------------------------- */

static PyObject *connect(PyObject *module, PyObject *args)
{
    State *state = PyModule_GetState(module);
    PyObject *prepare = state->prepare, *judge = state->judge;
    if (!PyArg_ParseTuple(args, "O|O", &state->prepare, &state->judge))
        return NULL;
    Py_INCREF(state->prepare);
    Py_XINCREF(state->judge);
    Py_XDECREF(prepare);
    Py_XDECREF(judge);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"is_granted", (PyCFunction)(void (*)(void))is_granted, METH_FASTCALL,
     "is_granted($module, token, descriptor, desired, mapping, /)\n--\n\n"
     "Answer `access_check`'s question with a bool: `stead.decision.fast`, natively."},
    {"plain_mask", (PyCFunction)(void (*)(void))plain_mask, METH_FASTCALL,
     "plain_mask($module, token, descriptor, mapping, /)\n--\n\n"
     "Return the rights that a plain list grants, or None: `stead.decision.plain_list`."},
    {"settle", settle, METH_VARARGS, "Grant or deny rights at some places."},
    {"answers", answers, METH_O, "Tell of each place whether nothing is missing."},
    {"connect", connect, METH_VARARGS, "Take the functions that prepare and judge."},
    {0}};

static int start(PyObject *module)
{
    static const char *const names[] = {"read", "write", "execute", "all"};
    State *state = PyModule_GetState(module);
    state->kept = (PyTypeObject *)PyType_FromModuleAndSpec(module, &kept_spec, NULL);
    state->kept_index = PyUnicode_InternFromString("kept_index");
    state->kept_standing = PyUnicode_InternFromString("kept_standing");
    for (int i = 0; i < 4; i++)
        if (!(state->generic[i] = PyUnicode_InternFromString(names[i])))
            return -1;
    if (!state->kept || !state->kept_index || !state->kept_standing)
        return -1;
    return PyModule_AddType(module, state->kept);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, start}, {0}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "stead.decision._fast",
    .m_doc = "The twin of stead.decision.plain_list.", .m_size = sizeof(State),
    .m_methods = methods, .m_slots = module_slots};

PyMODINIT_FUNC PyInit__fast(void)
{
    return PyModuleDef_Init(&definition);
}
