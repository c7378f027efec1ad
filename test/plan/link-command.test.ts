import assert from 'node:assert/strict'
import { test } from 'node:test'
import { linkArgsPlace } from '../../src/plan/codegen.ts'
import { type LinkCommand, linkCommand } from '../../src/plan/link-command.ts'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import { cidOf } from '../../src/wire/cid.ts'
import { planned as base } from '../recall/support.ts'

const target = 'x86_64-unknown-linux-gnu'
const standard = `lib/rustlib/${target}/lib`
const roots = [
  { name: 'target', path: '/ws/target' },
  { name: 'out', path: '/ws/target/debug/deps' },
  { name: 'toolchain', path: '/rust' },
] as const

const plannedWith = (...options: string[]) => ({
  ...base,
  args: parseRustcArgs(['--crate-name', 'app', '--crate-type', 'bin', '--emit', 'dep-info,link', ...options, 'a.rs']),
  action: { ...base.action, target },
  roots: [...roots],
  dependencies: [
    { name: 'libdep-1.rlib', path: '/ws/target/debug/deps/libdep-1.rlib', cid: cidOf(Buffer.from('x')), size: 1 },
    { name: 'libdyn-1.so', path: '/ws/target/debug/deps/libdyn-1.so', cid: cidOf(Buffer.from('y')), size: 1 },
  ],
  toolchain: { ...base.toolchain, sysroot: '/rust', host: target, covered: new Set([`${standard}/libstd-1.rlib`]) },
})

const file = (at: number | string): string => `\0file\0/${at}`
const usual = [
  '-m64',
  file(0),
  file(1),
  '-Wl,--as-needed',
  '-Wl,-Bstatic',
  '\0deps\0/libdep-1.rlib',
  `\0toolchain\0/${standard}/libstd-1.rlib`,
  '-Wl,-Bdynamic',
  '-lgcc_s',
  '-lc',
  `-B\0toolchain\0/lib/rustlib/${target}/bin/gcc-ld`,
  '-fuse-ld=lld',
  '-L',
  `\0toolchain\0/${standard}`,
  '-o',
  '\0out\0/app',
  '-Wl,--gc-sections',
  '-pie',
  '-nodefaultlibs',
  linkArgsPlace,
]

function read(args: readonly string[], options: string[] = [], files = 2): LinkCommand {
  const given = { args, files: Array.from({ length: files }) }
  return linkCommand(given, { planned: plannedWith(...options), output: 'app', dir: '/p/0', out: '/p' })
}

test('linkCommand() puts the roots, the objects and the arguments of the user in place', () => {
  const { program, args, path, objects } = read(usual, [
    '-C',
    'link-arg=-s',
    '-C',
    'linker=clang',
    '-C',
    'link-args=-a  -b',
  ])
  assert.equal(program, 'clang')
  assert.deepEqual(path, [`/rust/lib/rustlib/${target}/bin`, `/rust/lib/rustlib/${target}/bin/self-contained`])
  assert.deepEqual(
    [...objects],
    [
      [0, '/p/0/0.o'],
      [1, '/p/0/1.o'],
    ],
  )
  const placed = usual.map((argument) =>
    argument
      .replace('\0toolchain\0', '/rust')
      .replace('\0deps\0', '/ws/target/debug/deps')
      .replace('\0out\0', '/p')
      .replace(/^\0file\0\/(\d)$/, '/p/0/$1.o'),
  )
  assert.deepEqual(args, [...placed.slice(0, -1), '-s', '-a', '-b'])
})

test('linkCommand() takes a library that is loaded at run time from where it lies here', () => {
  const { args } = read([...usual, '\0deps\0/libdyn-1.so'])
  assert.equal(args.at(-1), '/ws/target/debug/deps/libdyn-1.so')
})

test('linkCommand() searches where cargo said, and nowhere else', () => {
  const native = ['-L', 'native=/ws/target/debug/build/z-1/out']
  assert.ok(
    read([...usual, '-L', '\0target\0/debug/build/z-1/out'], native).args.includes('/ws/target/debug/build/z-1/out'),
  )
  for (const dir of ['\0target\0/debug/build/z-2/out', '/ws/target/debug/build/z-1/out/..', '/', '\0deps\0', '.']) {
    assert.throws(() => read([...usual, '-L', dir], native), { code: 'ERR_UNSUPPORTED' }, dir)
  }
})

/** What would have a linker or its driver run, read or write something else. */
const hostile = [
  ...[
    '-fplugin=/tmp/x.so',
    '-B/tmp',
    '-B',
    '-B\0out\0',
    '-B\0deps\0/x',
    '-specs=/tmp/x',
    '-wrapper',
    '@/tmp/x',
    '@file',
  ],
  ...[
    '-Wl,--dependency-file=/home/a/.bashrc',
    '-Wl,-T,/tmp/x',
    '-T',
    '-Wl,--plugin=/tmp/x.so',
    '-Wl,-plugin,/tmp/x.so',
  ],
  ...['-Wl,-Map=/tmp/x', '-Wl,-o,/tmp/x', '-o/tmp/x', '-Wl,--version-script=/etc/passwd', '-Wl,@/tmp/x', '-Xlinker'],
  ...[
    '-fuse-ld=/tmp/x',
    '-fuse-ld=bfd',
    '--sysroot=/tmp',
    '-Wl,-rpath,/tmp',
    '-Wl,--dynamic-linker=/tmp/x',
    '-save-temps',
  ],
  ...[
    '-dumpdir',
    '-MF',
    '-E',
    '-x',
    'c',
    '/tmp/x.c',
    '/etc/passwd',
    'x.o',
    '../x.o',
    '-l:x.so',
    '-l/tmp/x.so',
    '-l',
    '-l../x',
  ],
  ...['-Wl,-soname=../x', '-Wl,-soname=other', '-Wl,--wrap=open', '-Wl,--defsym=a=b', '-Wl,-lto_library,/x', '-flto'],
  ...[
    '-Wl,--push-state,-T/x',
    '-Wl,-z,relro,-T/x',
    '-m32',
    '-Wl,--undefined=x',
    '-run',
    '--config=/x',
    '-resource-dir=/x',
  ],
  ...[
    '\0deps\0/libother-1.rlib',
    '\0deps\0/libother-1.so',
    '\0deps\0/libdep-1.rmeta',
    '\0deps\0/../x.rlib',
    '\0deps\0/libdep-1.rlib/../x',
    '\0out\0/x.o',
    '\0workspace\0/x.o',
  ],
  ...[
    `\0toolchain\0/${standard}/libnone-1.rlib`,
    `\0toolchain\0/${standard}/../libstd-1.rlib`,
    '\0toolchain\0/bin/rustc',
  ],
  ...[
    file(0),
    file(2),
    file(-1),
    file('00'),
    file('1/..'),
    file('x'),
    `${file(1)} `,
    '\0file\0',
    '',
    ' ',
    '-',
    '--',
    '\n',
  ],
]

test('linkCommand() takes no argument that names anything else', () => {
  for (const argument of hostile) {
    for (const at of [0, usual.length]) {
      const code = argument.startsWith(file('')) ? 'ERR_OUTPUT' : 'ERR_UNSUPPORTED'
      assert.throws(() => read(usual.toSpliced(at, 0, argument)), { code }, JSON.stringify(argument))
    }
  }
})

test('linkCommand() wants one output of that name, one place for arguments, and a use for every file', () => {
  const without = (argument: string): string[] => usual.filter((each) => each !== argument)
  for (const args of [
    [],
    without('\0out\0/app'),
    without(linkArgsPlace),
    without(file(1)),
    [...usual, '-o', '\0out\0/app'],
    [...usual, linkArgsPlace],
    [...usual, '-o'],
    usual.map((each) => (each === '\0out\0/app' ? '\0out\0/../app' : each)),
    usual.map((each) => (each === '\0out\0/app' ? '/home/a/.bashrc' : each)),
  ]) {
    assert.throws(() => read(args), { code: 'ERR_OUTPUT' }, args.join(' '))
  }
})
