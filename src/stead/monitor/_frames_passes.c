/* Passes, on which a block is entered again, and how their sessions stand: the twin of
 * stead.monitor.passing and stead.authority.standing (docs/adr/0111). */
#include "_frames.h"

/* --- how a session stands (stead.authority.standing) ------------------------------------------ */

/* Return the number that was answered; or FAILED, with an error. */
static long long number_of(PyObject *answer)
{
    long long number = answer ? PyLong_AsLongLong(answer) : FAILED;
    Py_XDECREF(answer);
    return number;
}

/* Tell by which moment a session is believed: it, 0 if it is not, or FAILED. */
static long long moment_of(State *my, PyObject *it)
{
    Standing *self = (Standing *)it;
    if (!self->session || !self->monotonic) {
        PyErr_SetString(PyExc_AttributeError, "nobody stands");
        return FAILED;
    }
    PyObject *over = ask(my, self->session, OVER);
    Py_XDECREF(over);
    if (over != Py_None) /* it ends by itself, by either clock: Python knows */
        return over ? number_of(PyObject_CallMethod(it, "_good_at", NULL)) : FAILED;
    long long now = number_of(PyObject_CallNoArgs(self->monotonic));
    long long ends = now == FAILED ? 0 : number_of(ask(my, self->session, LEASE_ENDS));
    return PyErr_Occurred() ? FAILED : now < ends && now > 0 ? now : 0;
}

static PyObject *standing_good_at(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    State *my = state();
    long long moment = my ? moment_of(my, it) : FAILED;
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(moment);
}

static int standing_init(PyObject *it, PyObject *args, PyObject *named)
{
    static char *names[] = {"session", "clock", "monotonic", NULL};
    PyObject *given[3], **place = &((Standing *)it)->session;
    if (!PyArg_ParseTupleAndKeywords(args, named, "OOO", names, &given[0], &given[1],
                                     &given[2]))
        return -1;
    for (int i = 0; i < 3; i++) {
        PyObject *old = place[i];
        place[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    return 0;
}

static int standing_traverse(PyObject *it, visitproc visit, void *arg)
{
    Standing *self = (Standing *)it;
    for (PyObject **place = &self->session; place <= &self->monotonic; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int standing_clear(PyObject *it)
{
    Standing *self = (Standing *)it;
    for (PyObject **place = &self->session; place <= &self->monotonic; place++)
        Py_CLEAR(*place);
    return 0;
}

static void standing_dealloc(PyObject *it)
{
    let_go(it, NULL, standing_clear);
}

#define STANDS(name) {#name, T_OBJECT, offsetof(Standing, name), READONLY, NULL}

static PyMemberDef standing_members[] = {
    STANDS(session), STANDS(clock), STANDS(monotonic), {NULL, 0, 0, 0, NULL},
};

static PyMethodDef standing_methods[] = {
    {"good_at", standing_good_at, METH_NOARGS, "Return this moment, or 0."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot standing_slots[] = {
    {Py_tp_doc, "How a session stands."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, standing_init},
    {Py_tp_traverse, standing_traverse},
    {Py_tp_clear, standing_clear},
    {Py_tp_dealloc, standing_dealloc},
    {Py_tp_members, standing_members},
    {Py_tp_methods, standing_methods},
    {0, NULL},
};

PyType_Spec standing_spec = {
    "stead.monitor._frames.StandingFields", sizeof(Standing), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, standing_slots,
};

/* --- a pass, as far as C knows it ------------------------------------------------------------- */

static int pass_traverse(PyObject *it, visitproc visit, void *arg)
{
    Pass *self = (Pass *)it;
    for (PyObject **place = &self->cover; place <= &self->is_well; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int pass_clear(PyObject *it)
{
    Pass *self = (Pass *)it;
    for (PyObject **place = &self->cover; place <= &self->is_well; place++)
        Py_CLEAR(*place);
    return 0;
}

static void pass_dealloc(PyObject *it)
{
    let_go(it, NULL, pass_clear);
}

/* Tell whether a pass is good: `Pass._enter` asks the same. */
static int is_good(State *my, Pass *pass)
{
    if (!pass->standing || !pass->cover || !pass->is_well || !pass->again
        || !PyType_IsSubtype(Py_TYPE(pass->standing), my->standing))
        return 0; /* Python asks others */
    /* Whoever is asked may be Python's, and change what stands here. */
    PyObject *asked[] = {Py_NewRef(pass->standing), Py_NewRef(pass->cover),
                         Py_NewRef(pass->is_well)};
    PyObject *is_over = NULL, *is_well = NULL;
    long long now = moment_of(my, asked[0]);
    if (now > 0 && now < pass->until && (is_over = ask(my, asked[1], IS_OVER)) == Py_False)
        is_well = PyObject_CallNoArgs(asked[2]);
    int found = is_well == Py_True;
    Py_XDECREF(is_over);
    Py_XDECREF(is_well);
    for (int i = 0; i < 3; i++)
        Py_DECREF(asked[i]);
    return PyErr_Occurred() ? FAILED : found;
}

/* Have Python say what a kernel that did not follow means; the error stays. */
static void say_refused(PyObject *pass)
{
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace)
        PyException_SetTraceback(error, trace);
    PyObject *said = PyObject_CallMethod(pass, "_came_to_nothing", "O", error);
    if (said)
        PyErr_Restore(kind, error, trace);
    else {
        PyObject *newer, *its, *way;
        PyErr_Fetch(&newer, &its, &way);
        PyErr_NormalizeException(&newer, &its, &way);
        PyException_SetContext(its, error);
        PyErr_Restore(newer, its, way);
        Py_XDECREF(kind);
        Py_XDECREF(trace);
    }
    Py_XDECREF(said);
}

static PyObject *pass_enter(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    Pass *pass = (Pass *)it;
    State *my = state();
    int good = my ? is_good(my, pass) : FAILED;
    if (good != 1)
        return good == FAILED ? NULL : PyObject_CallMethod(it, "_enter", NULL);
    pass->entered++;
    PyObject *again = Py_NewRef(pass->again), *entered = PyObject_CallNoArgs(again);
    Py_DECREF(again);
    if (!entered)
        say_refused(it);
    return entered;
}

static PyObject *pass_leave(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    State *my = state();
    PyObject *cover = my ? ((Pass *)it)->cover : NULL;
    PyObject *is_over = cover ? ask(my, cover, IS_OVER) : NULL;
    Py_XDECREF(is_over);
    if (is_over != Py_False)
        return PyErr_Occurred() ? NULL : PyObject_CallMethod(it, "_leave", NULL);
    ((Pass *)it)->left++;
    return Py_NewRef(Py_None);
}

#define KNOWN(name) {#name, T_OBJECT, offsetof(Pass, name), 0, NULL}

static PyMemberDef pass_members[] = {
    KNOWN(cover), KNOWN(subject), KNOWN(guard), KNOWN(code), KNOWN(at), KNOWN(look),
    KNOWN(hold),
    {"_again", T_OBJECT, offsetof(Pass, again), 0, NULL},
    {"_standing", T_OBJECT, offsetof(Pass, standing), 0, NULL},
    {"_is_well", T_OBJECT, offsetof(Pass, is_well), 0, NULL},
    {"_until", T_LONGLONG, offsetof(Pass, until), 0, NULL},
    {"entered", T_LONGLONG, offsetof(Pass, entered), 0, NULL},
    {"left", T_LONGLONG, offsetof(Pass, left), 0, NULL},
    {"last", T_INT, offsetof(Pass, last), 0, NULL},
    {"is_kernel", T_BOOL, offsetof(Pass, is_kernel), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef pass_methods[] = {
    {"enter", pass_enter, METH_NOARGS, "Count a block more and have the kernel follow."},
    {"leave", pass_leave, METH_NOARGS, "Count one that was left in order."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pass_slots[] = {
    {Py_tp_doc, "A pass, as far as the plain way through a block looks at it."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, pass_traverse},
    {Py_tp_clear, pass_clear},
    {Py_tp_dealloc, pass_dealloc},
    {Py_tp_members, pass_members},
    {Py_tp_methods, pass_methods},
    {0, NULL},
};

PyType_Spec pass_spec = {
    "stead.monitor._frames.PassFields", sizeof(Pass), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, pass_slots,
};
