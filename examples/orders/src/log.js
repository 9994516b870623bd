// One JSON object a line, as our log pipeline wants it.

const service = process.env.SERVICE ?? 'lantern';

function write(level, msg, fields) {
  process.stdout.write(`${JSON.stringify({ level, time: new Date().toISOString(), service, msg, ...fields })}\n`);
}

export const log = {
  info: (msg, fields) => write('info', msg, fields),
  warn: (msg, fields) => write('warn', msg, fields),
  error: (msg, fields) => write('error', msg, fields),
  fatal: (msg, fields) => write('fatal', msg, fields),
};

process.on('unhandledRejection', (error) => {
  log.fatal('unhandled rejection', { error: String(error?.stack ?? error) });
  process.exit(1);
});
