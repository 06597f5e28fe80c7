import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { login, register } from "../../api/endpoints";
import { ApiError, explain } from "../../api/errors";
import { session } from "../../api/session";
import { navigate, safeNext } from "../../router";
import { Button } from "../../ui/Button";
import { TextField } from "../../ui/Field";
import { Glyph } from "../../ui/Mark";
import { Notice } from "../../ui/States";
import "./auth.css";

export type AuthMode = "signup" | "login";

interface Form {
  username: string;
  email: string;
  password: string;
}

type Errors = Partial<Record<keyof Form | "form", string>>;

const FIELD_OF_CODE: Readonly<Record<string, keyof Form>> = {
  USERNAME_TAKEN: "username",
  INVALID_USERNAME: "username",
  EMAIL_TAKEN: "email",
  INVALID_EMAIL: "email",
  INVALID_PASSWORD: "password",
  WEAK_PASSWORD: "password",
};

/** Put a refusal beside the field it is about, else above the form. */
function placeError(error: unknown): Errors {
  const text = explain(error);
  if (!(error instanceof ApiError)) return { form: text };
  const named = error.field;
  const field = FIELD_OF_CODE[error.code];
  if (field !== undefined) return { [field]: text };
  return named === "username" || named === "email" || named === "password" ? { [named]: text } : { form: text };
}

function findMissing(mode: AuthMode, form: Form): Errors {
  const errors: Errors = {};
  if (form.username.trim() === "") errors.username = mode === "login" ? "Enter your user name or e-mail." : "Choose a user name.";
  if (mode === "signup" && form.email.trim() === "") errors.email = "Enter your e-mail address.";
  if (form.password === "") errors.password = "Enter a password.";
  return errors;
}

const TEXTS = {
  signup: {
    title: "Make the feed yours",
    lead: "An account remembers what you like, and lets you upload.",
    submit: "Create account",
    busy: "Creating…",
  },
  login: { title: "Welcome back", lead: "Sign in to your feed.", submit: "Sign in", busy: "Signing in…" },
} as const;

interface FieldsProps {
  mode: AuthMode;
  form: Form;
  errors: Errors;
  edit(change: Partial<Form>): void;
}

function PasswordField({ mode, form, errors, edit }: FieldsProps): JSX.Element {
  const [shown, setShown] = useState(false);
  const signup = mode === "signup";
  return (
    <div class="auth-password">
      <TextField
        label="Password"
        type={shown ? "text" : "password"}
        value={form.password}
        onValue={(password) => edit({ password })}
        error={errors.password}
        hint={signup ? "At least 8 characters." : undefined}
        autocomplete={signup ? "new-password" : "current-password"}
        data-testid={`${mode}-password`}
      />
      <button type="button" class="auth-show" aria-pressed={shown} onClick={() => setShown(!shown)}>
        {shown ? "Hide" : "Show"}
        <span class="visually-hidden"> password</span>
      </button>
    </div>
  );
}

function Fields({ mode, form, errors, edit }: FieldsProps): JSX.Element {
  const signup = mode === "signup";
  return (
    <>
      <TextField
        label={signup ? "User name" : "User name or e-mail"}
        value={form.username}
        onValue={(username) => edit({ username })}
        error={errors.username}
        hint={signup ? "Letters, digits and underscores. Everybody sees it." : undefined}
        autocomplete="username"
        autocapitalize="none"
        spellcheck={false}
        autofocus
        data-testid={`${mode}-username`}
      />
      {signup && (
        <TextField
          label="E-mail"
          type="email"
          value={form.email}
          onValue={(email) => edit({ email })}
          error={errors.email}
          autocomplete="email"
          data-testid="signup-email"
        />
      )}
      <PasswordField {...{ mode, form, errors, edit }} />
    </>
  );
}

function useAuthForm(mode: AuthMode) {
  const [form, setForm] = useState<Form>({ username: "", email: "", password: "" });
  const [errors, setErrors] = useState<Errors>({});
  const [busy, setBusy] = useState(false);

  useEffect(() => setErrors({}), [mode]);

  const edit = (change: Partial<Form>): void => {
    setForm((previous) => ({ ...previous, ...change }));
    setErrors((previous) => {
      const rest = { ...previous };
      for (const name of Object.keys(change) as (keyof Form)[]) delete rest[name];
      return rest;
    });
  };

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    const missing = findMissing(mode, form);
    setErrors(missing);
    if (Object.keys(missing).length > 0) return;
    setBusy(true);
    try {
      const name = form.username.trim();
      await (mode === "signup" ? register(name, form.email.trim(), form.password) : login(name, form.password));
      navigate(safeNext(location.search), { replace: true });
    } catch (error) {
      setErrors(placeError(error));
    } finally {
      setBusy(false);
    }
  };
  return { form, errors, busy, edit, submit };
}

/** Sign up and sign in: one calm page that keeps what was typed. */
export function AuthScreen({ mode }: { mode: AuthMode }): JSX.Element {
  const { form, errors, busy, edit, submit } = useAuthForm(mode);
  const texts = TEXTS[mode];

  useEffect(() => {
    if (session.get() !== null) navigate(safeNext(location.search), { replace: true });
  }, []);

  return (
    <div class="auth">
      <form class="auth-card" noValidate onSubmit={(event) => void submit(event)} aria-label={texts.submit}>
        <div class="auth-head">
          <div class="auth-glyph">
            <Glyph />
          </div>
          <h1>{texts.title}</h1>
          <p class="soft">{texts.lead}</p>
        </div>
        {errors.form && <Notice kind="error">{errors.form}</Notice>}
        <Fields {...{ mode, form, errors, edit }} />
        <Button weight="primary" wide type="submit" disabled={busy} data-testid={`${mode}-submit`}>
          {busy ? texts.busy : texts.submit}
        </Button>
        <p class="auth-other">
          {mode === "signup" ? "You have an account? " : "New here? "}
          <a href={(mode === "signup" ? "/login" : "/signup") + location.search}>
            {mode === "signup" ? "Sign in" : "Create an account"}
          </a>
        </p>
      </form>
    </div>
  );
}
