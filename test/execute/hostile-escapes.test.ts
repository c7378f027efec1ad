import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import { absent, forbidden, type SyscallNumbers, unsupported } from '../../src/execute/syscalls.ts'
import { emptyWork, guestsOf, Macros, makeCanary, reportOf } from './hostile-support.ts'
import { Lender, okResult } from './support.ts'

const lender = new Lender()
await lender.start()
after(() => lender.stop())
const skip = lender.executor.tier === 'none' ? `no sandbox here: ${lender.executor.reason}` : false

const canary = makeCanary()
const home = join(lender.dir, 'home/owner')
const treasures = [
  ...['.ssh/id_ed25519', '.ssh/config', '.cargo/credentials.toml', '.cargo/config.toml', '.aws/credentials', '.netrc'],
  ...[
    '.gnupg/private-keys-v1.d/key',
    '.kube/config',
    '.docker/config.json',
    '.npmrc',
    '.git-credentials',
    '.bash_history',
  ],
  ...['.config/shoal/config.toml', '.local/state/shoal/identity.key', 'project/.env', 'project/src/secret.rs'],
].map((path) => join(home, path))
for (const path of treasures) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `pub const SECRET: &str = "${canary}";\n`)
}
process.env.SHOAL_TEST_CANARY = canary
process.env.AWS_SECRET_ACCESS_KEY = canary

/** Beyond what the owner has, what every Linux has. */
const places = [
  ...['/etc/passwd', '/etc/shadow', '/etc/hostname', '/etc/machine-id', '/etc/resolv.conf', '/etc/ld.so.cache'],
  ...[
    '/proc/self/environ',
    '/proc/1/environ',
    '/proc/1/cmdline',
    '/proc/1/root/etc/passwd',
    '/proc/self/root/etc/passwd',
  ],
  ...['/proc/self/cwd', '/proc/self/exe', '/proc/self/fd', '/proc/self/fd/0', '/proc/self/mem', '/proc/self/maps'],
  ...['/proc/self/mountinfo', '/proc/self/cgroup', '/proc/self/status', '/proc/kcore', '/proc/kallsyms', '/proc/keys'],
  ...['/proc/cpuinfo', '/proc/version', '/proc/net/tcp', '/proc/net/unix', '/proc/sysrq-trigger', '/proc/config.gz'],
  ...['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', `/proc/${process.pid}/environ`],
  ...[
    '/sys',
    '/sys/kernel/security',
    '/sys/fs/cgroup',
    '/dev',
    '/dev/shm',
    '/dev/mem',
    '/dev/kmsg',
    '/dev/tty',
    '/dev/null',
  ],
  ...['/run', '/run/user', '/run/docker.sock', '/var/run/docker.sock', '/home', '/root', '/root/.ssh', '/root/.cargo'],
  ...['/bin/sh', '/usr/bin/env', '/opt', '/mnt', '/boot', '/var/log', process.execPath, lender.dir, process.cwd()],
]

const arch = process.arch === 'arm64' ? 1 : 0
const calls = (table: Readonly<Record<string, SyscallNumbers>>): string =>
  Object.entries(table)
    .flatMap(([name, numbers]) => (numbers[arch] === null ? [] : [`("${name}", ${numbers[arch]})`]))
    .join(', ')
const number = (x64: number, arm64: number): number => (arch === 1 ? arm64 : x64)
const quoted = (texts: readonly string[]): string => texts.map((text) => JSON.stringify(text)).join(', ')

const sockets: { path: string; abstract: string; port: number; port6: number; udp: number } = {
  path: join(lender.dir, 'docker.sock'),
  abstract: `shoal-test-${canary.slice(7, 15)}`,
  port: 0,
  port6: 0,
  udp: 0,
}
const visitors: string[] = []
const servers: Server[] = []
async function listening(name: string, options: { host?: string; port?: number; path?: string }): Promise<number> {
  const server = createServer((socket) => {
    visitors.push(name)
    socket.end(canary)
  })
  servers.push(server)
  server.listen(options)
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
sockets.port = await listening('tcp', { host: '127.0.0.1', port: 0 })
await listening('unix', { path: sockets.path })
await listening('abstract', { path: `\0${sockets.abstract}` })
const udp = createSocket('udp4', () => visitors.push('udp'))
udp.bind(0, '127.0.0.1')
await once(udp, 'listening')
sockets.udp = udp.address().port
after(() => {
  udp.close()
  for (const server of servers) server.close()
})

const macros = skip
  ? undefined
  : new Macros(lender, {
      reads: `
        let mut r: Vec<String> = vec![];
        for path in [${quoted([...places, ...treasures, sockets.path])}] {
            if std::fs::symlink_metadata(path).is_ok() || std::fs::read(path).is_ok() { r.push(format!("sees {path}")) }
        }
        for (name, value) in std::env::vars() {
            if value.contains("canary") || value.contains("/home") || value.contains("/root") { r.push(format!("env {name}={value}")) }
        }
        text(format!("<<{}>>", r.join(" ")))`,
      // Whatever can be seen at all, but for the compiler: no canary may be in it, and nothing be a link or a device.
      walks: `
        use std::os::unix::fs::FileTypeExt;
        let mut r: Vec<String> = vec![]; let mut seen = 0; let mut queue = vec![std::path::PathBuf::from("/")];
        let marker = out().trim_end_matches("/out").to_string();
        while let Some(dir) = queue.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let (path, kind) = (entry.path(), entry.file_type().unwrap());
                seen += 1;
                // The compiler, copies of the system's libraries, and this very macro.
                if path.starts_with(format!("{marker}/toolchain")) || path.extension().is_some_and(|e| e == "so") { continue }
                if kind.is_dir() { queue.push(path); continue }
                if kind.is_symlink() && !path.starts_with("/lib64") && !path.starts_with("/lib") { r.push(format!("link {}", path.display())) }
                if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() { r.push(format!("special {}", path.display())) }
                if path.starts_with("/lib") || path.starts_with("/usr") { continue }
                let bytes = std::fs::read(&path).unwrap_or_default();
                if String::from_utf8_lossy(&bytes).contains(&"-yranac".chars().rev().collect::<String>()) { r.push("canary".into()) }
            }
        }
        if seen < 10 { r.push("saw nothing".into()) }
        text(format!("<<{}>>", r.join(" ").replace(&marker, "")))`,
      calls: `
        let mut r: Vec<String> = vec![];
        let mut each = |calls: &[(&str, c_long)], expected: i32| for (name, number) in calls {
            let result = unsafe { syscall(*number, 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long) };
            if result == 0 && name.ends_with("fork") { std::process::exit(0) }
            if result != -1 || errno() != expected { r.push(format!("{name}: {result} {}", errno())) }
        };
        each(&[${calls(forbidden)}], 1);
        each(&[${calls(absent)}], 38);
        each(&[${calls(unsupported)}], 95);
        text(format!("<<{}>>", r.join(" ")))`,
      // The same with arguments that mean something: what would work if the number alone were looked at.
      tricks: `
        let mut r: Vec<String> = vec![];
        let mut denied = |name: &str, result: c_long| if result >= 0 { r.push(format!("{name}={result}")) };
        let n = std::ptr::null::<c_void>();
        unsafe {
            for (name, flags) in [("fork", 17), ("vfork", 0x4111), ("user", 0x10000011), ("mount", 0x20011), ("net", 0x40000011), ("pid", 0x20000011), ("detached thread", 0x10010f00)] {
                let pid = syscall(${number(56, 220)}, flags as c_long, n, n, n, n);
                if pid == 0 { std::process::exit(0) }
                denied(name, pid);
            }
            // struct clone_args: CLONE_NEWUSER, SIGCHLD.
            let mut args = [0u64; 11]; args[0] = 0x10000000; args[4] = 17;
            let pid = syscall(435, args.as_ptr(), 88 as c_long);
            if pid == 0 { std::process::exit(0) }
            denied("clone3", pid);
            for family in [1, 2, 10, 15, 16, 17, 29, 38, 40, 44] { for kind in [1, 2, 3] {
                denied(&format!("socket {family} {kind}"), syscall(${number(41, 198)}, family as c_long, kind as c_long, 0 as c_long));
            } }
            let mut pair = [0i32; 2];
            denied("socketpair", syscall(${number(53, 199)}, 1 as c_long, 1 as c_long, 0 as c_long, pair.as_mut_ptr()));
            for fd in 0..3 { for request in [0x5412, 0x541c] { denied("ioctl", ioctl(fd, request, b"x\\0".as_ptr()) as c_long); } }
            let dir = std::fs::File::open(out()).unwrap();
            let dir_fd = std::os::fd::AsRawFd::as_raw_fd(&dir);
            let mut flags = 0 as c_long;
            // FS_IOC_GETFLAGS and FS_IOC_SETFLAGS: what any file system of Linux answers.
            for request in [0x80086601u64 as c_long, 0x40086602] { denied("flags", ioctl(dir_fd, request, &mut flags) as c_long); }
            denied("dumpable", prctl(4, 0 as c_long) as c_long);
            for fd in 0..64 { denied("pipe size", fcntl(fd, 1031, 1 << 20) as c_long); denied("lease", fcntl(fd, 1024, 0) as c_long); }
            // Descriptors of its own for each thread; what is kept of locks, of shared memory and in pipes is nobody's.
            denied("own descriptors", syscall(${number(56, 220)}, 0x50b00 as c_long, n, n, n, n));
            denied("unshared descriptors", syscall(436, 900 as c_long, 901 as c_long, 2 as c_long));
            let locked = std::fs::File::create(format!("{}/locked", out())).unwrap();
            let locked_fd = std::os::fd::AsRawFd::as_raw_fd(&locked);
            // struct flock: F_WRLCK, from the start, one byte.
            for command in [6, 7, 37, 38] { denied("lock", fcntl(locked_fd, command, [1u64, 0, 1, 0].as_ptr()) as c_long); }
            denied("notify", fcntl(dir_fd, 1026, 1) as c_long);
            denied("shared memory", mmap(std::ptr::null_mut(), 4096, 3, 0x21, -1, 0) as c_long);
            denied("huge pages", mmap(std::ptr::null_mut(), 2 << 20, 3, 0x40022, -1, 0) as c_long);
            if errno() != 1 { denied("huge pages are asked for", 0) }
            denied("setuid", syscall(${number(105, 146)}, 0 as c_long));
            denied("setresuid", syscall(${number(117, 147)}, 0 as c_long, 0 as c_long, 0 as c_long));
            denied("setgroups", syscall(${number(116, 159)}, 1 as c_long, [0u32].as_ptr()));
            denied("ambient", prctl(47, 2 as c_long, 21 as c_long, 0 as c_long, 0 as c_long) as c_long);
            denied("securebits", prctl(28, 1 as c_long) as c_long);
            denied("nice", syscall(${number(141, 140)}, 0 as c_long, 0 as c_long, -5 as c_long));
            denied("realtime", syscall(${number(144, 119)}, 0 as c_long, 1 as c_long, [1i32].as_ptr()));
            for class in [1, 2] { denied("io first", syscall(${number(251, 30)}, 1 as c_long, 0 as c_long, (class << 13) as c_long)); }
            // Up to what a hard limit says, and no further.
            for resource in [1, 2, 4, 7] { denied("more", syscall(${number(302, 261)}, 0 as c_long, resource as c_long, [u64::MAX, u64::MAX].as_ptr(), n)); }
            denied("init", kill(-2, 9) as c_long);
            for pid in 2..300 { if pid != std::process::id() as i32 && syscall(${number(234, 131)}, std::process::id() as c_long, pid as c_long, 0 as c_long) != 0 { denied(&format!("process {pid}"), kill(pid, 0) as c_long) } }
        }
        let program = std::env::args().next().unwrap();
        let own = format!("{}/program", out());
        std::fs::copy(&program, &own).unwrap();
        for path in ["/bin/sh", &program, &own] {
            if std::process::Command::new(path).arg("-V").output().is_ok() { denied(path, 0) }
        }
        for (name, done) in [
            ("symlink", std::os::unix::fs::symlink("/etc/passwd", format!("{}/a", out())).is_ok()),
            ("dot dot", std::fs::write(format!("{}/../escaped", out()), "x").is_ok()),
            ("rename out", std::fs::rename(&own, format!("{}/../escaped", out())).is_ok()),
            ("rename root", std::fs::rename(out(), "/tmp/out").is_ok()),
            ("set id", std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o2755)).is_ok()),
            ("own", std::os::unix::fs::chown(&own, Some(0), Some(0)).is_ok()),
            ("input", std::fs::set_permissions("src/lib.rs", std::os::unix::fs::PermissionsExt::from_mode(0o666)).is_ok()),
            ("remove input", std::fs::remove_file("src/lib.rs").is_ok()),
            ("compiler", std::fs::OpenOptions::new().write(true).open(&program).is_ok()),
            ("tcp", std::net::TcpStream::connect(("127.0.0.1", ${sockets.port})).is_ok()),
            ("udp", std::net::UdpSocket::bind("127.0.0.1:0").and_then(|s| s.send_to(b"x", ("127.0.0.1", ${sockets.udp}))).is_ok()),
            ("unix", std::os::unix::net::UnixStream::connect(${JSON.stringify(sockets.path)}).is_ok()),
            ("abstract", {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::UnixStream::connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(${JSON.stringify(sockets.abstract)}).unwrap()).is_ok()
            }),
            ("names", std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80)).is_ok_and(|mut all| all.next().is_some())),
        ] { if done { denied(name, 0) } }
        text(format!("<<{}>>", r.join(" ")))`,
      // Another table of system calls, which no filter by number would judge rightly.
      other_table: `unsafe { syscall(0x40000000 + 39); } text("<<survived>>".into())`,
      becomes: `
        use std::os::unix::process::CommandExt;
        let mut program = std::process::Command::new(std::env::args().next().unwrap());
        let error = program.args(["--print", "cfg"]).env_clear().exec();
        text(format!("<<{error}>>"))`,
      kills_all: 'unsafe { kill(-1, 9); kill(1, 9); } text("<<alive>>".into())',
      stops: 'unsafe { kill(std::process::id() as i32, 19); } text("<<woke>>".into())',
    })

/** Every guest is gone with all that was its own, and the next one finds everything as it was. */
async function assertUnharmed(): Promise<void> {
  await lender.executor.idle()
  assert.deepEqual(guestsOf(lender.dir), [])
  assert.deepEqual(readdirSync(join(lender.dir, 'work')).sort(), emptyWork)
  assert.deepEqual(visitors, [])
  const honest = await lender.prepare({ crate: 'honest', files: { 'src/lib.rs': 'pub fn f() -> u32 { 1 }' } })
  const { outputs } = okResult(await lender.run(honest))
  const here = lender.here(honest)
  for (const { name, cid } of outputs)
    assert.deepEqual(Buffer.from(await lender.bytes(cid)), Buffer.from(here.outputs.get(name) ?? []), name)
}

describe('a hostile macro', { skip }, () => {
  const report = async (name: string): Promise<string> => {
    assert.ok(macros)
    return await reportOf(await macros.run(name), lender, canary)
  }

  test('sees nothing of its host: no home, no key, no process, no device', async () => {
    assert.equal(await report('reads'), '')
    assert.equal(await report('walks'), '')
    await assertUnharmed()
  })

  test('makes none of the calls that a compile has no use for', async () => {
    assert.equal(await report('calls'), '')
    await assertUnharmed()
  })

  test('gets no process, no namespace, no socket, no privilege and no link by any arguments', async () => {
    const before = readdirSync(lender.dir).sort()
    assert.equal(await report('tricks'), '')
    assert.deepEqual(readdirSync(lender.dir).sort(), before)
    await assertUnharmed()
  })

  test('gains nothing by another table of calls, another program or by killing all that it can', async () => {
    assert.ok(macros)
    if (process.arch === 'x64') assert.equal((await macros.run('other_table')).kind, 'failed')
    // Itself and the first process are spared, and there are no others.
    assert.equal(await report('kills_all'), 'alive')
    await assert.rejects(macros.run('becomes'), { code: 'ERR_OUTPUT' })
    await assert.rejects(macros.run('stops', { limits: { wallMs: 1000 } }), { code: 'ERR_DEADLINE' })
    await assertUnharmed()
  })
})

describe('a hostile source', { skip }, () => {
  test('includes nothing by any way to name it', async () => {
    const secret = treasures.at(-1) ?? ''
    const up = '../'.repeat(12)
    const ways: [source: string, complaint: string][] = [
      ...[
        '/proc/self/root',
        '/proc/1/root',
        '/proc/self/cwd/..',
        '',
        up.slice(0, -1),
        '/tmp/..',
        './src/../../../..',
      ].map((from): [string, string] => [
        `const _: &str = include_str!(${JSON.stringify(from + secret)});`,
        "couldn't read",
      ]),
      ...['/proc/self/environ', '/proc/self/fd/0', '/proc/self/mem', '/dev/stdin', '/etc/shadow'].map(
        (path): [string, string] => [`const _: &[u8] = include_bytes!(${JSON.stringify(path)});`, "couldn't read"],
      ),
      ...treasures
        .slice(0, 8)
        .map((path): [string, string] => [`const _: &str = include_str!(${JSON.stringify(path)});`, "couldn't read"]),
      ['const _: &str = env!("SHOAL_TEST_CANARY");', 'not defined at compile time'],
      ['const _: &str = env!("AWS_SECRET_ACCESS_KEY");', 'not defined at compile time'],
    ]
    const source = ways.map(([text], at) => `mod m${at} { ${text} }`).join('\n')
    const outcome = await lender.run(await lender.prepare({ crate: 'includes', files: { 'src/lib.rs': source } }))
    assert.ok(outcome.kind === 'failed')
    assert.ok(!outcome.stderr.includes(canary))
    // Each of them on its own, and not one for all.
    for (const [at, [, complaint]] of ways.entries()) {
      const told = outcome.stderr.split('\n').filter((line) => line.includes(`"line_start":${at + 1},`))
      assert.ok(
        told.some((line) => line.includes(complaint)),
        `${ways[at]?.[0]}: ${told.length}`,
      )
    }
    // Of these, the first ends the compile.
    for (const text of [secret, `/proc/self/root${secret}`, `${up}${secret.slice(1)}`].flatMap((path) => [
      `#[path = ${JSON.stringify(path)}] pub mod secret;`,
      `include!(${JSON.stringify(path)});`,
    ])) {
      const files = { 'src/lib.rs': text }
      const modules = await lender.run(await lender.prepare({ crate: 'modules', files }))
      assert.ok(modules.kind === 'failed' && !modules.stderr.includes(canary))
    }
    await assertUnharmed()
  })
})
