"""`capacity rehearse`: a dress rehearsal of one's own webinar against one's own deployment.

It stands outside the service as a platform does, and uses the public interface alone, by `capacity.client`. What shall
happen is a `Script`; what happened, a `Journal`; what that means, the `Verdict`. Those and the curves are pure; the
audience and the stage act; the pictures and the report show.
"""
