// @ts-check
/**
 * The look that all elements share. Colours are named by what they mean, follow `color-scheme`, and are custom
 * properties (docs/embed.md): text keeps 4.5:1, shapes 3:1. Sizes are in em, so that the page's own size counts.
 */

export const SHARED = `
:host {
  --_surface: var(--capacity-surface, light-dark(#fff, #1a1f2a));
  --_ink: var(--capacity-ink, light-dark(#1a2030, #edf0f6));
  --_quiet: var(--capacity-quiet, light-dark(#566072, #a4aec0));
  --_line: var(--capacity-line, light-dark(#d5d9e2, #3a4356));
  --_track: var(--capacity-track, light-dark(#e6e9f0, #2a3140));
  --_accent: var(--capacity-accent, light-dark(#2b59c3, #7fa4ff));
  --_accent-ink: var(--capacity-accent-ink, light-dark(#fff, #0d1424));
  --_away: var(--capacity-away, light-dark(#7d8bab, #6f7d98));
  --_good: var(--capacity-good, light-dark(#17805a, #4cc596));
  --_warn: var(--capacity-warn, light-dark(#a86a00, #e5ac3c));
  --_bad: var(--capacity-bad, light-dark(#bf2b35, #f37f86));
  --_radius: var(--capacity-radius, 0.875em);
  display: block;
  container-type: inline-size;
  color: var(--_ink);
  line-height: 1.5;
  overflow-wrap: break-word;
}
:host([hidden]), [hidden] { display: none !important; }
*, ::before, ::after { box-sizing: border-box; }
h1, h2, h3, p, dl, dd, ol, ul, figure, fieldset { margin: 0; padding: 0; border: 0; list-style: none; min-inline-size: 0; }
h1 { font-size: clamp(1.5em, 1.1em + 2cqi, 2em); line-height: 1.2; letter-spacing: -0.015em; text-wrap: balance; }
h2 { font-size: 1.0625em; line-height: 1.3; }
a { color: var(--_accent); }
.card {
  display: grid; gap: 0.875em; align-content: start;
  padding: clamp(1em, 4cqi, 1.75em);
  background: var(--_surface); border: 1px solid var(--_line); border-radius: var(--_radius);
}
.quiet { color: var(--_quiet); }
.bad { color: var(--_bad); font-weight: 600; }
.tall { min-block-size: 1.5em; }
.actions { display: flex; flex-wrap: wrap; gap: 0.5em; align-items: center; }
button, .button {
  font: inherit; font-weight: 600; text-decoration: none; cursor: pointer;
  display: inline-flex; align-items: center; justify-content: center;
  min-block-size: 2.75em; padding: 0.375em 1.125em;
  border: 1px solid var(--_line); border-radius: 0.625em; background: var(--_surface); color: var(--_ink);
}
.primary { background: var(--_accent); border-color: var(--_accent); color: var(--_accent-ink); }
.danger { color: var(--_bad); border-color: currentColor; }
button:disabled { opacity: 0.6; cursor: default; }
@media (hover: hover) { button:not(:disabled):hover, .button:hover { filter: brightness(1.08); border-color: var(--_quiet); } }
:focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px; }
h1:focus { outline: none; }
.stack { display: grid; }
.stack > * { grid-area: 1 / 1; }
.ghost { visibility: hidden; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.line { display: flex; align-items: baseline; gap: 0.5em; font-size: 0.875em; min-block-size: 1.5em; }
.line::before { content: ""; flex: none; inline-size: 0.625em; block-size: 0.625em; border-radius: 50%; background: var(--_away); }
.line[data-state="connected"]::before { background: var(--_good); }
.line[data-state="reconnecting"]::before { background: var(--_warn); }
dialog {
  pointer-events: auto;
  inline-size: min(34em, calc(100vw - 1.5em)); max-block-size: calc(100dvh - 0.75em - max(0.75em, 8dvh)); overflow: auto;
  margin-block-start: max(0.75em, 8dvh); /* what comes into it later makes it longer, and moves nothing */
  padding: clamp(1em, 4vw, 1.75em); border: 1px solid var(--_line); border-radius: var(--_radius);
  background: var(--_surface); color: inherit;
}
dialog[open] { display: grid; gap: 1em; align-content: start; }
dialog h2 { font-size: 1.375em; }
dialog::backdrop { background: rgb(8 12 20 / 60%); }
@media (prefers-reduced-motion: no-preference) { .bar { transition: inline-size 300ms ease-out; } }
@media (forced-colors: active) { .bar, .key { forced-color-adjust: none; } }
`;
