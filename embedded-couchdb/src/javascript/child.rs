//! The process that runs JavaScript. It has no files, no environment and no network; its memory and its CPU time are
//! limited. It reads requests from standard input and writes the answers to standard output, each after its length.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, Read as _},
    process::ExitCode,
    rc::Rc,
    time::Instant,
};

use rquickjs::{
    Context, Function, Persistent, Runtime, Value,
    context::{EvalOptions, intrinsic},
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{CALL_LIMIT, source::as_expressions};

/// The argument by which a program becomes this process.
pub(crate) const ARGUMENT: &str = "javascript-worker";

/// The memory of all realms together, in bytes.
const MEMORY: usize = 128 << 20;

/// The address space of the process, in bytes: the program itself is mapped into it.
const ADDRESS_SPACE: u64 = 1 << 30;

/// The stack of the engine, in bytes. That of the process is larger.
const STACK: usize = 4 << 20;

/// The most design documents whose functions are kept compiled.
const REALMS: usize = 16;

/// The CPU time of one request, in seconds: a batch of documents.
const CPU_SECONDS: u64 = 120;

const PRELUDE: &str = include_str!("prelude.js");

/// Becomes the process that runs JavaScript, if the arguments of the program say so. Must be called before anything else.
pub fn run_as_child() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let is_child =
        arguments.next().is_some_and(|first| first == ARGUMENT) && arguments.next().is_none();
    if !is_child {
        return None;
    }
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads a message: the parent sees that the process has ended.
        Err(_) => ExitCode::FAILURE,
    })
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, limit)?)
}

/// Gives up what a function could misuse.
fn confine() -> io::Result<()> {
    limit(Resource::As, ADDRESS_SPACE)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    // The three that are open stay open.
    limit(Resource::Nofile, 0)?;
    limit(Resource::Nproc, 0)
}

/// Allows the CPU time of one more request.
fn allow_cpu_time() -> io::Result<()> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = u64::try_from(used.tv_sec).unwrap_or(0);
    let limit = Rlimit {
        current: Some(used + CPU_SECONDS),
        maximum: None,
    };
    Ok(setrlimit(Resource::Cpu, limit)?)
}

/// The functions of one design document, in a realm of their own.
struct Realm {
    key: Vec<u8>,
    context: Context,
    answer: Persistent<Function<'static>>,
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    confine()?;
    let runtime = Runtime::new()?;
    runtime.set_memory_limit(MEMORY);
    runtime.set_max_stack_size(STACK);
    let deadline = Rc::new(Cell::new(Instant::now() + CALL_LIMIT));
    let watched = Rc::clone(&deadline);
    runtime.set_interrupt_handler(Some(Box::new(move || Instant::now() > watched.get())));
    let mut realms: VecDeque<Realm> = VecDeque::new();
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let Some(key) = read(&mut input)? else {
            return Ok(());
        };
        let Some(request) = read(&mut input)? else {
            return Ok(());
        };
        allow_cpu_time()?;
        deadline.set(Instant::now() + CALL_LIMIT);
        let place = realms.iter().position(|realm| realm.key == key);
        let realm = match place.and_then(|place| realms.remove(place)) {
            Some(realm) => realm,
            None => realm(&runtime, key, &deadline)?,
        };
        let answer = call(&realm, &request)?;
        let is_late = Instant::now() > deadline.get();
        write(&mut output, &answer)?;
        if is_late {
            // Whatever state the function was broken off in is gone with the process.
            return Ok(());
        }
        realms.push_front(realm);
        realms.truncate(REALMS);
    }
}

fn realm(
    runtime: &Runtime,
    key: Vec<u8>,
    deadline: &Rc<Cell<Instant>>,
) -> Result<Realm, rquickjs::Error> {
    // CouchDB's functions find no promises, proxies, big integers and typed arrays either.
    let context = Context::builder()
        .with::<intrinsic::Date>()
        .with::<intrinsic::Eval>()
        .with::<intrinsic::RegExpCompiler>()
        .with::<intrinsic::RegExp>()
        .with::<intrinsic::Json>()
        .with::<intrinsic::MapSet>()
        .build(runtime)?;
    let deadline = Rc::clone(deadline);
    let answer = context.with(|ctx| {
        let compile = Function::new(
            ctx.clone(),
            |ctx: rquickjs::Ctx<'_>,
             source: String|
             -> rquickjs::Result<Persistent<Value<'static>>> {
                let mut options = EvalOptions::default();
                options.strict = false;
                let value: Value<'_> = ctx.eval_with_options(as_expressions(&source), options)?;
                Ok(Persistent::save(&ctx, value))
            },
        )?;
        let restart = Function::new(ctx.clone(), move || {
            deadline.set(Instant::now() + CALL_LIMIT);
        })?;
        let make: Function<'_> = ctx.eval(PRELUDE)?;
        let answer: Function<'_> = make.call((compile, restart))?;
        Ok::<_, rquickjs::Error>(Persistent::save(&ctx, answer))
    })?;
    Ok(Realm {
        key,
        context,
        answer,
    })
}

/// The answer to a request, or the error that ended the function from outside.
fn call(realm: &Realm, request: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let request = std::str::from_utf8(request)?;
    realm.context.with(|ctx| {
        let answer = realm.answer.clone().restore(&ctx)?;
        match answer.call::<_, String>((request,)) {
            Ok(text) => Ok(text.into_bytes()),
            Err(rquickjs::Error::Exception) => {
                // Time and memory end a function in a way that it cannot catch.
                let _ = ctx.catch();
                Ok(br#"{"error":"os_process_error","reason":"OS process timed out."}"#.to_vec())
            }
            Err(other) => Err(other.into()),
        }
    })
}

fn read(input: &mut impl io::Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u64::from(u32::from_be_bytes(length));
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn write(output: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    output.write_all(&length.to_be_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}
