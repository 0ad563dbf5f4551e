/* A thread's blocks, as far as C knows them: the plain way through a block of
 * stead.privileged.hardened_thread (docs/adr/0059, 0111). */
#include "_switch.h"

#define ROOM_ALONE 16 /* as in `credentials` */

/* What a hardened thread keeps of its blocks; `HardenedThread` is made of it. */
typedef struct {
    PyObject_HEAD
    PyObject *blocks, *known, *client, *server, *room;
    unsigned long long seal;
    char is_disordered, is_switching;
} Books;

typedef struct {
    PyObject_HEAD
    PyObject *identity, *thread;
} Block;

/* The hardened thread that this very thread is, while it works; else NULL. */
static _Thread_local Books *here;

static int is_none(PyObject *it)
{
    return !it || it == Py_None;
}

static int visit_all(PyObject *it, PyObject **place, PyObject **last, visitproc visit,
                     void *arg)
{
    for (; place <= last; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int clear_all(PyObject **place, PyObject **last)
{
    for (; place <= last; place++)
        Py_CLEAR(*place);
    return 0;
}

static void let_go(PyObject *it, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(it);
    PyObject_GC_UnTrack(it);
    clear(it);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(it);
    Py_DECREF(type);
}

static int books_traverse(PyObject *it, visitproc visit, void *arg)
{
    return visit_all(it, &((Books *)it)->blocks, &((Books *)it)->room, visit, arg);
}

static int books_clear(PyObject *it)
{
    return clear_all(&((Books *)it)->blocks, &((Books *)it)->room);
}

static void books_dealloc(PyObject *it)
{
    let_go(it, books_clear);
}

static PyObject *books_open(PyObject *it, PyObject *args)
{
    Books *books = (Books *)it;
    PyObject *server, *room;
    unsigned long long seal;
    if (!PyArg_ParseTuple(args, "SKO", &server, &seal, &room) || !who_of(server))
        return NULL;
    if (here)
        return PyErr_Format(PyExc_RuntimeError, "this thread has its books");
    PyObject *old[] = {books->server, books->room};
    books->server = Py_NewRef(server);
    books->room = Py_NewRef(room);
    books->seal = seal;
    Py_XDECREF(old[0]);
    Py_XDECREF(old[1]);
    here = (Books *)Py_NewRef(it);
    return Py_NewRef(Py_None);
}

static PyObject *books_close(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    if (here != (Books *)it)
        return Py_NewRef(Py_None);
    here = NULL;
    Py_DECREF(it);
    return Py_NewRef(Py_None);
}

static PyMemberDef books_members[] = {
    {"_blocks", T_OBJECT, offsetof(Books, blocks), 0, NULL},
    {"_known", T_OBJECT, offsetof(Books, known), 0, NULL},
    {"_client", T_OBJECT, offsetof(Books, client), 0, NULL},
    {"_is_disordered", T_BOOL, offsetof(Books, is_disordered), 0, NULL},
    {"_is_switching", T_BOOL, offsetof(Books, is_switching), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef books_methods[] = {
    {"_open_books", books_open, METH_VARARGS, "Say that this very thread works by them."},
    {"_close_books", books_close, METH_NOARGS, "Say that it does no more."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot books_slots[] = {
    {Py_tp_doc, "What a hardened thread keeps of its blocks."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, books_traverse},
    {Py_tp_clear, books_clear},
    {Py_tp_dealloc, books_dealloc},
    {Py_tp_members, books_members},
    {Py_tp_methods, books_methods},
    {0, NULL},
};

PyType_Spec books_spec = {
    "stead.privileged._switch.Books", sizeof(Books), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, books_slots,
};

/* Return this thread's books if a block can be entered or left by them, whole: there is
 * none, or this one alone; and its client is the one that is packed. */
static Books *books_for(Block *block, Py_ssize_t open)
{
    Books *books = here;
    if (!books || books->is_disordered || books->is_switching || is_none(block->identity)
        || books->known != block->identity || !books->blocks || !books->client
        || !PyList_Check(books->blocks) || PyList_Size(books->blocks) != open)
        return NULL;
    return books;
}

/* Have Python say what went wrong, or end the process: nothing runs on if it must. */
static PyObject *give_up(Books *books, PyObject *identity, int outcome)
{
    PyObject *said =
        PyObject_CallMethod((PyObject *)books, "_give_up", "Oi", identity, outcome);
    if (said || outcome == NOT_WHO_WAS_EXPECTED || outcome == NOT_THE_SERVER_AGAIN)
        abort(); /* it comes back with an error, or not at all */
    return NULL;
}

static PyObject *block_enter(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    Block *block = (Block *)it;
    Books *books = is_none(block->thread) ? books_for(block, 0) : NULL;
    if (!books)
        return PyObject_CallMethod(it, "_enter", NULL);
    if (!is_none(books->room)) {
        PyObject *proved = PyObject_CallNoArgs(books->room);
        Py_XDECREF(proved);
        if (!proved || !books_for(block, 0))
            return proved ? PyObject_CallMethod(it, "_enter", NULL) : NULL;
    }
    const Who *them = who_of(books->client), *us = them ? who_of(books->server) : NULL;
    if (!us || !has_room(ROOM_ALONE))
        return NULL;
    int outcome = enter_as(them, us, books->seal);
    if (outcome == DONE && keep(books->blocks, it)) {
        if (come_back(us, books->seal))
            return NULL;
        PyErr_Clear();
        outcome = NOT_THE_SERVER_AGAIN;
    }
    if (outcome != DONE)
        return give_up(books, block->identity, outcome);
    block->thread = Py_NewRef((PyObject *)books);
    return Py_NewRef(it);
}

static PyObject *block_leave(PyObject *it, PyObject *const *args, Py_ssize_t count)
{
    Block *block = (Block *)it;
    Books *books = is_none(block->thread) ? NULL : books_for(block, 1);
    (void)args;
    (void)count; /* how the statement ended changes nothing */
    if (!books || block->thread != (PyObject *)books || PyList_GetItem(books->blocks, 0) != it)
        return PyObject_CallMethod(it, "_leave", NULL);
    const Who *them = who_of(books->client), *us = them ? who_of(books->server) : NULL;
    if (!us)
        return NULL;
    int outcome = leave_as(them, us, books->seal);
    if (outcome != DONE)
        return give_up(books, block->identity, outcome);
    /* A list that gets shorter has no reason to fail. */
    return keep(books->blocks, NULL) ? NULL : Py_NewRef(Py_None);
}

/* Enter a new block of the same kind, as the same client. */
static PyObject *block_again(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    Block *made = (Block *)PyType_GenericAlloc(Py_TYPE(it), 0);
    if (!made)
        return NULL;
    made->identity = Py_XNewRef(((Block *)it)->identity);
    PyObject *entered = block_enter((PyObject *)made, NULL);
    Py_DECREF((PyObject *)made);
    return entered;
}

static int block_init(PyObject *it, PyObject *args, PyObject *named)
{
    static char *names[] = {"identity", NULL};
    PyObject *identity, *old = ((Block *)it)->identity;
    if (!PyArg_ParseTupleAndKeywords(args, named, "O", names, &identity))
        return -1;
    ((Block *)it)->identity = Py_NewRef(identity);
    Py_XDECREF(old);
    return 0;
}

static int block_traverse(PyObject *it, visitproc visit, void *arg)
{
    return visit_all(it, &((Block *)it)->identity, &((Block *)it)->thread, visit, arg);
}

static int block_clear(PyObject *it)
{
    return clear_all(&((Block *)it)->identity, &((Block *)it)->thread);
}

static void block_dealloc(PyObject *it)
{
    let_go(it, block_clear);
}

static PyMemberDef block_members[] = {
    {"identity", T_OBJECT, offsetof(Block, identity), 0, NULL},
    {"_thread", T_OBJECT, offsetof(Block, thread), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define LEAVING (PyCFunction)(void (*)(void))block_leave, METH_FASTCALL

static PyMethodDef block_methods[] = {
    {"enter", block_enter, METH_NOARGS, "Make the calling thread the identity."},
    {"__enter__", block_enter, METH_NOARGS, "Make the calling thread the identity."},
    {"leave", LEAVING, "Make the calling thread whoever it was before."},
    {"__exit__", LEAVING, "Make the calling thread whoever it was before."},
    {"again", block_again, METH_NOARGS, "Enter a new one, as the same client."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_doc, "A stay of a hardened thread, as far as the plain way through it goes."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, block_init},
    {Py_tp_traverse, block_traverse},
    {Py_tp_clear, block_clear},
    {Py_tp_dealloc, block_dealloc},
    {Py_tp_members, block_members},
    {Py_tp_methods, block_methods},
    {0, NULL},
};

PyType_Spec block_spec = {
    "stead.privileged._switch.Block", sizeof(Block), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, block_slots,
};
